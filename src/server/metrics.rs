//! `/metrics`: figures in the text form of Prometheus (0.0.4), or in that of OpenMetrics 1.0 for who asks for it.
//!
//! All names begin with `holdfast_`, all units are base units. What is counted from the event log goes on counting across restarts; what
//! the doors count begins with the server. Labels are bounded: commands are those of the dispatcher's list, participants those that are
//! registered, endpoints those that are known, jobs those of the newest thousand.

mod classic;
mod page;

use std::fmt::Error;

use holdfast_model::run::Outcome;
use holdfast_model::tally::Marks;
use prometheus_client::encoding::DescriptorEncoder;

use self::page::Page;
use super::Gauges;
use crate::engine::{EndpointFigures, Figures, ParticipantFigures};

/// A form of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The text form of Prometheus, which everything reads.
    Classic,
    /// OpenMetrics.
    OpenMetrics,
}

impl Form {
    /// What is wanted by the header `Accept` (RFC 9110, section 12.5.1): the classic one, unless OpenMetrics is named and wanted as much.
    pub(super) fn wanted(accept: &str) -> Self {
        let weight = |range: &str| {
            let weights = range.split(';').skip(1).filter_map(|parameter| parameter.trim().strip_prefix("q="));
            weights.filter_map(|weight| weight.trim().parse::<f32>().ok()).last().unwrap_or(1.0)
        };
        let of = |name: &str| {
            let named = |range: &&str| range.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case(name));
            accept.split(',').filter(named).map(weight).fold(0.0, f32::max)
        };
        let open = of("application/openmetrics-text");
        if open > 0.0 && open >= of("text/plain") { Self::OpenMetrics } else { Self::Classic }
    }

    /// Its content type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All figures that are shown.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) figures: Figures,
    pub(super) gauges: std::sync::Arc<Gauges>,
    pub(super) wrong_tokens: u64,
}

impl Metrics {
    /// The page.
    ///
    /// # Errors
    /// Where a figure has no text form.
    pub(super) fn text(self, form: Form) -> Result<String, Error> {
        let mut registry = prometheus_client::registry::Registry::with_prefix("holdfast");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(match form {
            Form::Classic => classic::of(&text),
            Form::OpenMetrics => text,
        })
    }

    fn runs(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let tally = &self.figures.tally;
        let ends = [Outcome::Completed, Outcome::Partial, Outcome::Failed, Outcome::Cancelled, Outcome::Timeout];
        let ends = ends.map(|end| ([("status", crate::model::run::RunStatus::from(end).as_str())], tally.ended(end)));
        page.counters("runs", "Runs that have ended, by how.", ends)?;
        page.gauge("open_runs", "Runs that have not ended.", tally.open_runs() as u64)?;
        page.gauge("queue_length", "Runs that wait for their turn.", tally.queued_runs() as u64)?;
        page.counter("run_resumes", "Times that a run was gone on with by another process.", tally.resumed())?;
        page.counter("runs_deleted", "Runs that were deleted.", tally.deleted())?;
        let durations = tally.durations();
        let buckets = durations.buckets().map(|(bound, count)| (bound as f64, count));
        let mut buckets: Vec<_> = buckets.collect();
        let sum = durations.sum_s() as f64;
        let bounded: u64 = buckets.iter().map(|(_, count)| count).sum();
        buckets.push((f64::INFINITY, durations.count() - bounded.min(durations.count())));
        page.histogram(
            "run_duration_seconds",
            "How long runs took from their start to their end.",
            sum,
            durations.count(),
            &buckets,
        )?;
        let stored = tally.stored();
        page.counter("artifacts", "Artifacts that were stored, also by runs that failed.", stored.artifacts)?;
        page.counter("content_bytes", "Bytes that participants wrote.", stored.content_bytes)?;
        page.counter("stored_bytes", "Bytes that artifacts take as stored.", stored.stored_bytes)?;
        let verified = tally.verified();
        let found = [([("result", "whole")], verified.whole), ([("result", "damaged")], verified.damaged)];
        page.counters("verifications", "Verifications of ended runs that were asked for, by what they found.", found)
    }

    /// What is said of participants and of jobs alike.
    fn subjects(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let participants = self.figures.participants.iter();
        let participants = participants.map(|one| ([("participant", one.name.as_str())], &one.marks));
        let subjects: Vec<_> =
            participants.chain(self.figures.tally.jobs().map(|(name, marks)| ([("job", name)], marks))).collect();
        let seconds = |at: fn(&Marks) -> Option<crate::model::ids::Timestamp>| {
            let known = subjects.iter().filter_map(move |(labels, marks)| Some((*labels, at(marks)?.seconds())));
            known.collect::<Vec<_>>()
        };
        page.signed_gauges(
            "last_success_timestamp_seconds",
            "When the last completed run ended; of a partial run the participants that are good in it count. Copies are another figure.",
            seconds(Marks::last_success),
        )?;
        let verified = seconds(Marks::last_verified);
        let now = self.figures.now.seconds();
        let ages: Vec<_> = verified.iter().map(|(labels, at)| (*labels, now.saturating_sub(*at).max(0))).collect();
        page.signed_gauges(
            "last_verified_run_timestamp_seconds",
            "When the newest run that is good and kept was last read again, every byte, and was as recorded.",
            verified,
        )?;
        page.signed_gauges("last_verified_run_age_seconds", "How long that is ago.", ages)
    }

    fn participants(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let all = &self.figures.participants;
        let each = |figure: fn(&ParticipantFigures) -> u64| {
            all.iter().map(|one| ([("participant", one.name.as_str())], figure(one))).collect::<Vec<_>>()
        };
        page.counters("participant_retries", "Tries that followed a failed one.", each(|one| one.marks.retries()))?;
        page.counters("participant_failures", "Tries that failed.", each(|one| one.marks.failures()))?;
        page.gauges(
            "participant_quarantined",
            "1 where a participant failed so often in a row that a run tries it once.",
            each(|one| u64::from(one.quarantined)),
        )?;
        page.gauges(
            "participant_stuck",
            "1 where a participant was told to stop and did not return.",
            each(|one| u64::from(one.stuck)),
        )
    }

    fn endpoints(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let all = &self.figures.endpoints;
        let came = all.iter().filter_map(|one| Some(([("endpoint", one.name.as_str())], one.last_copy?.seconds())));
        page.signed_gauges(
            "endpoint_last_copy_timestamp_seconds",
            "When a copy of a run last came to an endpoint, whole and checked.",
            came.collect::<Vec<_>>(),
        )?;
        let each = |figure: fn(&EndpointFigures) -> u64| {
            all.iter().map(|one| ([("endpoint", one.name.as_str())], figure(one))).collect::<Vec<_>>()
        };
        page.gauges(
            "endpoint_failures_in_a_row",
            "Tries to copy a run to an endpoint that failed since one was good.",
            each(|one| one.failures_in_a_row),
        )?;
        page.gauges(
            "endpoint_unavailable",
            "1 where an endpoint failed so often in a row that it is left alone for a while.",
            each(|one| u64::from(one.unavailable)),
        )
    }

    fn engine(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let figures = &self.figures;
        page.counter("actor_restarts", "Actors that ended early and were started again.", figures.actor_restarts)?;
        page.counter("engine_starts", "Starts of an engine on this home.", figures.tally.engine_starts())?;
        page.gauge("maintenance", "1 while there is maintenance.", u64::from(figures.maintenance))?;
        page.gauge("log_position", "Position of the last event of the log.", figures.head.0)?;
        if let Some(bytes) = figures.log_bytes {
            page.gauge("log_size_bytes", "Bytes that the event log takes on disk.", bytes)?;
        }
        if let Some(bytes) = figures.free_bytes {
            page.gauge("home_free_bytes", "Bytes free on the file system of the home.", bytes)?;
        }
        let buckets = figures.append_latency.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        page.histogram(
            "log_append_seconds",
            "How long appends to the event log took, from the call until they were on stable storage.",
            figures.append_latency.sum().as_secs_f64(),
            count,
            &buckets,
        )
    }

    fn doors(&self, page: &mut Page<'_, '_>) -> Result<(), Error> {
        let gauges = &self.gauges;
        let connections = gauges.connections().map(|(door, open)| ([("door", door.as_str())], open));
        page.gauges("connections", "Connections that are open, by door.", connections)?;
        page.counter("connections_refused", "Connections for which there was no place.", gauges.refused())?;
        page.counter(
            "slow_consumers",
            "Connections whose client did not take what was sent.",
            gauges.slow_consumers(),
        )?;
        page.counter("rate_limited", "Requests that were one too many.", gauges.rate_limited())?;
        page.counter("wrong_tokens", "Tokens that were shown and are not known.", self.wrong_tokens)?;
        let requests = gauges.requests().into_iter();
        let requests = requests.map(|(command, class, count)| ([("command", command), ("status", class)], count));
        page.counters("requests", "Requests that were answered, by command and class of status.", requests)?;
        page.gauge("server_start_time_seconds", "When the server began, in Unix seconds.", gauges.began())?;
        page.info("build", "The program.", [("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl prometheus_client::collector::Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page::new(&mut encoder);
        self.runs(&mut page)?;
        self.subjects(&mut page)?;
        self.participants(&mut page)?;
        self.endpoints(&mut page)?;
        self.engine(&mut page)?;
        self.doors(&mut page)
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in
            [prometheus, "application/openmetrics-text", "text/plain, Application/OpenMetrics-Text; version=1.0.0"]
        {
            assert_eq!(Form::wanted(accept), Form::OpenMetrics, "{accept}");
        }
        let rather_not = "application/openmetrics-text;q=0.1, text/plain;q=0.9";
        for accept in ["", "*/*", "text/plain", rather_not, "application/openmetrics-text;q=0", "text/html,*/*;q=0.1"] {
            assert_eq!(Form::wanted(accept), Form::Classic, "{accept}");
        }
    }
}
