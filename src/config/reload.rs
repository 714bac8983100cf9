//! What of a configuration can be put in force while the server runs.

use super::Config;

impl Config {
    /// The settings in which `new` differs from this configuration and which only a restart puts in force, by their
    /// keys: what the server listens on and whether it is encrypted, the form of its log, its CPU workers. All others
    /// take effect at once: participants, runs, restores, space, limits, origins, the level of the log, the files of the
    /// certificate, how it stops.
    ///
    /// ```
    /// use holdfast::config::Config;
    ///
    /// let (old, mut new) = (Config::default(), Config::default());
    /// new.runs.max_parallel = 2;
    /// assert!(old.needs_restart(&new).is_empty());
    /// new.server.tcp = None;
    /// assert_eq!(old.needs_restart(&new), ["server.tcp"]);
    /// ```
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let (old_server, new_server) = (&self.server, &new.server);
        let differs = [
            ("pipeline.workers", self.pipeline.workers != new.pipeline.workers),
            ("server.tcp", old_server.tcp != new_server.tcp),
            ("server.http", old_server.http != new_server.http),
            // Another certificate takes the place of the one there is; a door that speaks no TLS cannot begin to.
            ("server.tls_cert", old_server.tls.is_some() != new_server.tls.is_some()),
            ("server.log", old_server.log != new_server.log),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}
