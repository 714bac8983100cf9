//! What a home that was made anew of a far side has to be told: which runs are not here, and where they came from.

use holdfast_model::audit::{AuditCommand, CommandOutcome, CommandRecordedV2};
use holdfast_model::endpoint::{Endpoint, EndpointConfigV2};
use holdfast_model::ids::{EndpointName, RunId};
use holdfast_model::run::{Retained, RunCommand};
use secrecy::{ExposeSecret, SecretString};

use super::{EngineError, Holdfast, PasswordError};

impl Holdfast {
    /// Records of each run that is said to be here that it is not. Answers how many runs there are, and how many of them are kept on
    /// endpoints alone.
    pub(crate) async fn note_what_is_not_here(&self) -> Result<(u64, u64), EngineError> {
        let known = self.read(|known| {
            let kept = |entry: &&holdfast_model::history::RunEntry| !entry.deleted && entry.outcome.is_some();
            let kept: Vec<RunId> = known.history.newest_first().filter(kept).map(|entry| entry.run_id).collect();
            (known.history.newest_first().count() as u64, kept)
        });
        let (runs, kept) = known.await?;
        let mut elsewhere = 0;
        for run_id in kept {
            let handle = self.for_run(run_id, RunCommand::NotHere).await?;
            let run = self.wait_until(handle, |run| run.retained() != Retained::Deleting).await?;
            elsewhere += u64::from(run.is_kept_remotely());
        }
        Ok((runs, elsewhere))
    }

    /// Those of these runs that nothing is known of.
    pub(crate) async fn unknown_of(&self, mut runs: Vec<RunId>) -> Result<Vec<RunId>, EngineError> {
        self.read(move |known| {
            runs.retain(|run_id| known.history.run(*run_id).is_none());
            runs
        })
        .await
    }

    /// The endpoint at an address: one that is known, or else one that is added under a name, out of use. A password that is lost, or is
    /// another one by now, is put in its place.
    pub(crate) async fn endpoint_at(
        &self,
        url: &str,
        login: &str,
        password: Option<SecretString>,
        name: &EndpointName,
    ) -> Result<EndpointName, EngineError> {
        let (known, taken) = self
            .read(|known| {
                let here = |config: &&EndpointConfigV2| {
                    let same =
                        config.url == url || (config.url.is_empty() && format!("vault://{}", config.host) == url);
                    same && (login.is_empty() || config.login == login)
                };
                let found = known.endpoints.values().filter_map(Endpoint::config).find(here).cloned();
                (found, known.endpoints.keys().cloned().collect::<Vec<_>>())
            })
            .await?;
        let Some(known) = known else {
            let free = |name: &EndpointName| !taken.contains(name);
            let numbered = (2..).filter_map(|number| format!("{name}-{number}").parse().ok());
            let name = std::iter::once(name.clone()).chain(numbered).find(free).unwrap_or_else(|| name.clone());
            let mut config = EndpointConfigV2::new(name.clone());
            (config.url, config.login, config.enable) = (url.to_owned(), login.to_owned(), false);
            self.add_endpoint(config, password).await?;
            return Ok(name);
        };
        if !known.declared
            && password.is_some()
            && known.secret.is_some()
            && !self.has_password(&known, password.as_ref()).await?
            && let Err(error) = self.update_endpoint(&known.name, |_| {}, password, super::Loss::Refused).await
        {
            tracing::warn!(endpoint = %known.name, %error, "its password cannot be kept");
        }
        Ok(known.name)
    }

    /// Whether this is the password that is kept here.
    async fn has_password(
        &self,
        config: &EndpointConfigV2,
        password: Option<&SecretString>,
    ) -> Result<bool, EngineError> {
        let (home, of) = (self.home().root().to_owned(), config.clone());
        let kept = self.blocking(move || super::endpoint_password(&home, &of)).await?;
        Ok(kept.is_ok_and(|kept| password.is_some_and(|password| kept.expose_secret() == password.expose_secret())))
    }

    /// Whether a password that was kept here is not any more.
    async fn lost_password(&self, config: &EndpointConfigV2) -> Result<bool, EngineError> {
        let (home, of) = (self.home().root().to_owned(), config.clone());
        if of.secret.is_none() {
            return Ok(false);
        }
        let found = self.blocking(move || super::endpoint_password(&home, &of)).await?;
        Ok(matches!(found, Err(PasswordError::Gone(_) | PasswordError::Secrets(_))))
    }

    /// Endpoints whose password was kept in the home and is lost.
    pub(crate) async fn without_password(&self) -> Result<Vec<EndpointName>, EngineError> {
        let configs = self.read(|known| known.endpoints.values().filter_map(Endpoint::config).cloned().collect());
        let configs: Vec<EndpointConfigV2> = configs.await?;
        let mut lost = Vec::new();
        for config in configs {
            if self.lost_password(&config).await? {
                lost.push(config.name);
            }
        }
        Ok(lost)
    }

    /// Records that the home was recovered.
    pub(crate) async fn record_recovery(&self, fields: [(&str, String); 3]) -> Result<(), EngineError> {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let recorded = CommandRecordedV2 {
            command: "Recover".to_owned(),
            role: "admin".to_owned(),
            token_id: None,
            door: "command line".to_owned(),
            source: String::new(),
            outcome: CommandOutcome::Done,
            code: String::new(),
            fields,
        };
        self.record_audit(AuditCommand::Command(recorded)).await
    }
}
