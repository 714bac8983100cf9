//! The page in the text form of Prometheus, version 0.0.4, made of that of OpenMetrics.
//!
//! Samples are written alike in both. What differs is how a family is called that has samples of longer names: here a counter has the name
//! of its samples, with `_total`, and there are no families of information, which are gauges; and nothing says where the page ends.

/// The page of one of OpenMetrics.
pub(super) fn of(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = "";
    for line in page.lines() {
        let said = line.strip_prefix("# ").and_then(|rest| {
            let (what, rest) = rest.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            Some((what, name, rest))
        });
        match said {
            // It comes first, and is called as the type after it says.
            Some(("HELP", ..)) => help = line,
            Some(("TYPE", name, kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                let help = std::mem::take(&mut help).splitn(4, ' ').nth(3).unwrap_or_default();
                text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
            }
            _ if line.starts_with('#') => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn families_are_called_as_their_samples() {
        let open = "# HELP h_runs Runs that ended.\n# TYPE h_runs counter\nh_runs_total{status=\"completed\"} 1\n\
                    # HELP h_build The program.\n# TYPE h_build info\nh_build_info{version=\"1\"} 1\n\
                    # HELP h_size_bytes Bytes.\n# TYPE h_size_bytes gauge\n# UNIT h_size_bytes bytes\nh_size_bytes 7\n# EOF\n";
        let classic = "# HELP h_runs_total Runs that ended.\n# TYPE h_runs_total counter\nh_runs_total{status=\"completed\"} 1\n\
                       # HELP h_build_info The program.\n# TYPE h_build_info gauge\nh_build_info{version=\"1\"} 1\n\
                       # HELP h_size_bytes Bytes.\n# TYPE h_size_bytes gauge\nh_size_bytes 7\n";
        assert_eq!(super::of(open), classic);
    }
}
