//! Which crate may depend on which, as the manifests say it.
//!
//! A crate cannot name another one that its manifest does not list, so for whole crates the manifests are the proof.

use anyhow::Context;
use serde::Deserialize;

use super::Violation;

/// The crates of the workspace, each after those it may depend on.
const ORDER: &[&str] =
    &["holdfast-model", "holdfast-log", "holdfast-actors", "holdfast", "holdfast-tools", "holdfast-trading-server"];

/// Crates that only the ones listed may name.
const KEPT: &[(&str, &[&str])] =
    &[("sled", &["holdfast-log"]), ("actix", &["holdfast-actors", "holdfast"]), ("bincode", &["holdfast-model"])];

/// The pure crate, and what it may depend on: crates that compute and nothing else.
const PURE: &str = "holdfast-model";
// schemars: the schemas of what is shown are derived beside it.
const PURE_DEPENDENCIES: &[&str] = &["bincode", "schemars", "serde", "thiserror", "uuid"];

/// What `cargo metadata --no-deps` says, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Workspace {
    pub(super) packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

/// One line of a crate's manifest; `name` is the real one, also where the manifest renames it.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

impl Workspace {
    pub(super) fn parse(metadata: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(metadata).context("cannot read what cargo metadata wrote")
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for package in &self.packages {
            if !ORDER.contains(&package.name.as_str()) {
                violations.push(violation(package, "is a new crate: give it its place in the order of the arrows"));
                continue;
            }
            for dependency in &package.dependencies {
                violations.extend(package.broken_by(dependency).map(|text| violation(package, &text)));
            }
        }
        violations
    }
}

impl Package {
    /// Why this crate may not have that dependency.
    fn broken_by(&self, dependency: &Dependency) -> Option<String> {
        let rank = |name: &str| ORDER.iter().position(|other| *other == name);
        let name = dependency.name.as_str();

        if let Some(other) = rank(name) {
            return (Some(other) >= rank(&self.name))
                .then(|| format!("depends on {name}: the arrows go {}", ORDER.join(" ← ")));
        }
        if let Some((_, keepers)) = KEPT.iter().find(|(kept, _)| *kept == name)
            && !keepers.contains(&self.name.as_str())
        {
            return Some(format!("depends on {name}: only {} names it", keepers.join(" and ")));
        }
        let at_run_time = dependency.kind.as_deref() != Some("dev");
        (self.name == PURE && at_run_time && !PURE_DEPENDENCIES.contains(&name)).then(|| {
            format!("depends on {name}: the model is pure, its dependencies are {}", PURE_DEPENDENCIES.join(", "))
        })
    }
}

fn violation(package: &Package, text: &str) -> Violation {
    Violation { place: package.name.clone(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(package: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let metadata = serde_json::json!({
            "packages": [{ "name": package, "dependencies": [{ "name": dependency, "kind": kind }] }]
        });
        let workspace = Workspace::parse(metadata.to_string().as_bytes()).unwrap();
        workspace.violations().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_go_one_way() {
        for (index, package) in ORDER.iter().enumerate() {
            for (other_index, other) in ORDER.iter().enumerate() {
                for kind in [None, Some("dev"), Some("build")] {
                    let found = violations(package, other, kind);
                    assert_eq!(found.is_empty(), other_index < index, "{package} on {other}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn kept_crates_are_named_in_their_place_only() {
        for (kept, keepers) in KEPT {
            for package in ORDER {
                let found = violations(package, kept, None);
                assert_eq!(found.is_empty(), keepers.contains(package), "{package} on {kept}: {found:?}");
            }
        }
        assert_eq!(violations("holdfast-actors", "sled", Some("dev")).len(), 1);
    }

    #[test]
    fn the_model_takes_only_pure_crates() {
        assert_eq!(
            violations("holdfast-model", "tokio", None),
            [
                "holdfast-model: depends on tokio: the model is pure, its dependencies are bincode, schemars, serde, thiserror, uuid"
            ]
        );
        assert_eq!(violations("holdfast-model", "tracing", Some("build")).len(), 1);
        assert!(violations("holdfast-model", "proptest", Some("dev")).is_empty());
        assert!(violations("holdfast-log", "tokio", None).is_empty());
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert_eq!(violations("holdfast-extra", "serde", None).len(), 1);
    }
}
