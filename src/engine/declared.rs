//! Endpoints that the configuration file declares, as the log has them: added, changed and taken out as the file is, at each start and
//! each time it is read anew. What was added by a command is never touched; a name that both claim is refused.

use holdfast_actors::event_sourced::CommandError;
use holdfast_actors::root::RootError;
use holdfast_model::endpoint::{Endpoint, EndpointCommand, EndpointConfigV2, EndpointRefusal, MAX_ENDPOINTS};

use super::{Endpoints, EngineError, Holdfast};
use crate::config::Config;

/// Refuses a configuration that declares an endpoint which was added by a command.
pub(super) fn check(endpoints: &Endpoints, config: &Config) -> Result<(), EngineError> {
    let taken = config.endpoints.iter().find(|declared| {
        let known = endpoints.get(&declared.name).and_then(Endpoint::config);
        known.is_some_and(|known| !known.declared)
    });
    match taken {
        Some(declared) => Err(refused(EndpointRefusal::Taken(declared.name.clone()))),
        None => Ok(()),
    }
}

fn refused(refusal: EndpointRefusal) -> EngineError {
    RootError::Endpoint(CommandError::Refused(refusal)).into()
}

impl Holdfast {
    /// Records the endpoints of the configuration where they differ from what is recorded. One whose name is taken is left out, and told:
    /// a command that takes the other one away has to be able to start.
    ///
    /// # Errors
    /// [`EngineError`] where there are too many, or it could not be recorded.
    pub(super) async fn declare_endpoints(&self) -> Result<(), EngineError> {
        let _one_at_a_time = self.shared.endpoints.lock().await;
        let config = self.config();
        let known: Vec<EndpointConfigV2> =
            self.read(|known| known.endpoints.values().filter_map(Endpoint::config).cloned().collect()).await?;
        let gone = |one: &&EndpointConfigV2| one.declared && !config.endpoints.iter().any(|kept| kept.name == one.name);
        let mut count = known.len();
        for withdrawn in known.iter().filter(gone) {
            self.tell_endpoint(&withdrawn.name, EndpointCommand::Withdraw).await?;
            count -= 1;
        }
        for declared in &config.endpoints {
            match known.iter().find(|one| one.name == declared.name) {
                Some(same) if same == declared => continue,
                Some(taken) if !taken.declared => {
                    let error = EndpointRefusal::Taken(declared.name.clone());
                    tracing::warn!(endpoint = %declared.name, %error, "an endpoint of the configuration is not used");
                    continue;
                }
                Some(_) => {}
                None if count >= MAX_ENDPOINTS => return Err(refused(EndpointRefusal::Full)),
                None => count += 1,
            }
            self.tell_endpoint(&declared.name, EndpointCommand::Declare(declared.clone())).await?;
        }
        Ok(())
    }
}
