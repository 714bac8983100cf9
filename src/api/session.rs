//! What a command may ask of the connection it came by.

use std::future::Future;
use std::pin::Pin;

use holdfast_model::ids::Position;

use super::caller::Principal;
use super::channel::Channel;
use super::error::ApiError;

/// An answer to come.
pub type SessionFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection that stays.
pub trait Session: Send + Sync {
    /// Who it speaks for from now on.
    fn authenticate(&self, principal: Principal);

    /// Sends what happens on these channels, each from after its position on or from now on, as far as `principal` may see it. Says up to
    /// where what was there has been looked at.
    ///
    /// # Errors
    /// Where there are too many, and then nothing has changed, or the log cannot be read.
    fn subscribe<'a>(
        &'a self,
        principal: &'a Principal,
        channels: &'a [(Channel, Option<Position>)],
    ) -> SessionFuture<'a, Result<Position, ApiError>>;

    /// Sends no more of these; of none of them where the list is empty. The channels that are left.
    fn unsubscribe(&self, channels: &[Channel]) -> Vec<Channel>;
}
