#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use super::*;

fn outbox(bytes: usize, messages: usize, patience: Duration) -> (Outbox, Queue, Arc<Gauges>) {
    let gauges = Arc::new(Gauges::new(holdfast_model::ids::Timestamp(0)));
    let limits = ServerLimits {
        outbox_bytes: bytes,
        outbox_messages: messages,
        slow_consumer: patience,
        ..ServerLimits::default()
    };
    let (outbox, queue) = Outbox::new(&limits, gauges.clone());
    (outbox, queue, gauges)
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn message(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

/// Whether a message is taken at once.
async fn fits(outbox: &Outbox, bytes: usize) -> bool {
    let mut sending = std::pin::pin!(outbox.send(message(bytes)));
    std::future::poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx).is_ready())).await
}

#[tokio::test]
async fn it_holds_so_many_bytes_and_no_more() {
    let (outbox, mut queue, _) = outbox(1000, 100, LONG);
    assert!(fits(&outbox, 600).await);
    assert!(fits(&outbox, 400).await);
    assert!(!fits(&outbox, 1).await);
    assert_eq!(queue.next().await.unwrap().message.len(), 600);
    assert!(fits(&outbox, 600).await);
    assert!(!fits(&outbox, 1).await);
}

#[tokio::test]
async fn it_holds_so_many_messages_and_no_more() {
    let (outbox, mut queue, _) = outbox(1000, 4, LONG);
    for _ in 0..4 {
        assert!(fits(&outbox, 1).await);
    }
    assert!(!fits(&outbox, 1).await);
    drop(queue.next().await);
    assert!(fits(&outbox, 1).await);
}

#[tokio::test]
async fn room_is_free_only_once_a_message_is_sent() {
    let (outbox, mut queue, _) = outbox(1000, 4, LONG);
    assert!(fits(&outbox, 1000).await);
    let sending = queue.next().await.unwrap();
    assert!(!fits(&outbox, 1).await);
    drop(sending);
    assert!(fits(&outbox, 1).await);
}

#[tokio::test]
async fn a_message_that_is_larger_than_all_of_it_goes_alone() {
    let (outbox, mut queue, _) = outbox(1000, 4, LONG);
    assert!(fits(&outbox, 50_000).await);
    assert!(!fits(&outbox, 1).await);
    assert_eq!(queue.next().await.unwrap().message.len(), 50_000);
    assert!(fits(&outbox, 1).await);
}

#[tokio::test]
async fn who_waits_first_is_served_first_whatever_the_size() {
    let (outbox, mut queue, _) = outbox(1000, 10, LONG);
    outbox.send(message(900)).await.unwrap();
    let (large, small) = (outbox.clone(), outbox.clone());
    let large = tokio::spawn(async move { large.send(message(500)).await });
    tokio::task::yield_now().await;
    let small = tokio::spawn(async move { small.send(message(100)).await });
    tokio::task::yield_now().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(queue.next().await.unwrap().message.len());
    }
    assert_eq!(seen, [900, 500, 100]);
    large.await.unwrap().unwrap();
    small.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_while_the_queue_is_full_is_closed() {
    let (outbox, mut queue, gauges) = outbox(1000, 10, SHORT);
    outbox.send(message(1000)).await.unwrap();
    assert_eq!(outbox.send(message(1)).await, Err(Closed));
    assert_eq!(outbox.closed().await, Reason::SlowConsumer);
    assert!(queue.next().await.is_none(), "what it did not take is not sent any more");
    assert_eq!(gauges.slow_consumers(), 1);
    assert_eq!(outbox.send(message(1)).await, Err(Closed));
}

#[tokio::test]
async fn a_full_queue_that_nobody_waits_for_is_no_reason() {
    let (outbox, mut queue, gauges) = outbox(1000, 10, Duration::ZERO);
    outbox.send(message(1000)).await.unwrap();
    assert!(!outbox.is_closed());
    assert!(queue.next().await.is_some());
    assert_eq!(gauges.slow_consumers(), 0);
}

#[tokio::test]
async fn a_client_that_takes_a_little_is_not_closed() {
    let (outbox, queue, gauges) = outbox(1000, 10, Duration::from_millis(200));
    outbox.send(message(1000)).await.unwrap();
    let sending = tokio::spawn(async move { outbox.send(message(1)).await });
    // It is written piece by piece, for longer than the patience there is with one that takes nothing.
    let until = Instant::now() + Duration::from_millis(600);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while Instant::now() < until {
        tick.tick().await;
        queue.taken();
    }
    assert!(!sending.is_finished());
    assert_eq!(gauges.slow_consumers(), 0);
    drop(queue);
    assert_eq!(sending.await.unwrap(), Err(Closed));
}

#[tokio::test]
async fn what_is_queued_is_sent_before_an_end_that_is_meant() {
    let (outbox, mut queue, _) = outbox(1000, 10, LONG);
    outbox.send(message(1)).await.unwrap();
    outbox.send(message(2)).await.unwrap();
    outbox.close(Reason::GoingAway);
    assert_eq!(outbox.send(message(3)).await, Err(Closed));
    assert_eq!(queue.next().await.unwrap().message.len(), 1);
    assert_eq!(queue.next().await.unwrap().message.len(), 2);
    assert!(queue.next().await.is_none());
    // A client that is gone is not waited for.
    outbox.close(Reason::Gone);
    assert_eq!(outbox.abandoned().await, Reason::Gone);
}
