//! `[server]`: what is read, what is refused, what only a restart puts in force.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;

const WHOLE: &str = r#"
[server]
tcp = "0.0.0.0:0"
http = "[::]:8443"
tls_cert = "/etc/holdfast/server.pem"
tls_key = "/etc/holdfast/server.key"
insecure = false
allowed_origins = ["https://Backup.example.org:443", "http://localhost:3000"]
backup_on_shutdown = true
backup_on_shutdown_within = "1h"
grace = "0s"
log = "json"
log_level = "info,holdfast::engine=debug"
metrics_public = true
[server.limits]
message_before_auth = "4 KiB"
message = "2 MiB"
answer = "20 MiB"
page = 10
page_max = 50
ws_idle = "5s"
ws_ping = "1m"
ws_pong = "20s"
tcp_idle = "1h"
unauthenticated_per_address = 1
outbox_bytes = "64 KiB"
outbox_messages = 16
slow_consumer = "1s"
connections = 10000
in_flight = 1
channels = 2
requests_per_second = 1000
burst = 2000
guesses_per_minute = 3
progress_per_second = 1
"#;

#[test]
fn all_settings_of_the_server_are_read() {
    let rate = |number| NonZeroU32::new(number).unwrap();
    let expected = ServerConfig {
        tcp: Some("0.0.0.0:0".parse().unwrap()),
        http: Some("[::]:8443".parse().unwrap()),
        tls: Some(TlsFiles { cert: "/etc/holdfast/server.pem".into(), key: "/etc/holdfast/server.key".into() }),
        insecure: false,
        allowed_origins: ["https://backup.example.org", "http://localhost:3000"].map(|o| o.parse().unwrap()).into(),
        backup_on_shutdown: true,
        backup_on_shutdown_within: Duration::from_secs(3600),
        grace: Duration::ZERO,
        log: LogFormat::Json,
        log_level: "info,holdfast::engine=debug".to_owned(),
        metrics_public: true,
        limits: ServerLimits {
            message_before_auth: 4 << 10,
            message: 2 << 20,
            answer: 20 << 20,
            page: 10,
            page_max: 50,
            ws_idle: Duration::from_secs(5),
            ws_ping: Duration::from_secs(60),
            ws_pong: Duration::from_secs(20),
            tcp_idle: Duration::from_secs(3600),
            unauthenticated_per_address: 1,
            outbox_bytes: 64 << 10,
            outbox_messages: 16,
            slow_consumer: Duration::from_secs(1),
            connections: 10_000,
            in_flight: 1,
            channels: 2,
            requests_per_second: rate(1000),
            burst: rate(2000),
            guesses_per_minute: rate(3),
            progress_per_second: rate(1),
        },
    };
    let server = parse(WHOLE).unwrap().server;
    assert_eq!(server, expected);
    assert!(server.allows("https://backup.example.org") && server.allows("http://localhost:3000"));
    assert!(!server.allows("https://backup.example.org.evil.test") && !server.allows("null"));

    let server = parse("[server]\ntcp = 'off'\nhttp = 'off'\n").unwrap().server;
    assert_eq!((server.tcp, server.http, server.limits), (None, None, ServerLimits::default()));
}

#[test]
fn wrong_settings_of_the_server_are_told_with_line_and_key_and_what_is_allowed() {
    expect_wrong(&[
        ("[server]\ntpc = 'off'", &[(2, "[server] has no key `tpc`: did you mean `tcp`?")]),
        ("[server]\nmessage = '1 MiB'", &[(2, "`message` stands in [server.limits]: move it there")]),
        ("[server]\ntcp = 7420", &[(2, "`tcp`: an address as \"127.0.0.1:7420\", or \"off\", is needed")]),
        ("[server]\ntcp = '127.0.0.1'", &[(2, "has no port: write it as `127.0.0.1:7420`")]),
        ("[server]\ntcp = '::1'", &[(2, "has no port: write it as `[::1]:7420`")]),
        ("[server]\nhttp = 'localhost:7421'", &[(2, "`http`: \"localhost:7421\" is a name")]),
        ("[server]\nhttp = 'backup.example.org:1'", &[(2, "is no address: write a number and a port")]),
        ("[server]\nhttp = '127.0.0.1:65536'", &[(2, "is no address")]),
        ("[server]\nhttp = '127.0.0.1:7420'", &[(2, "`http`: `tcp` has port 7420 already")]),
        ("[server]\ntcp = '127.0.0.1:7421'", &[(2, "`tcp`: `http` has port 7421 already")]),
        (
            "[server]\ninsecure = true\ntcp = '[::]:9000'\nhttp = '127.0.0.1:9000'",
            &[(4, "`http`: `tcp` has port 9000 already")],
        ),
        ("[server]\ntcp = 'x'\nhttp = '127.0.0.1:7420'", &[(2, "`tcp`: \"x\" is no address")]),
        // What others reach is encrypted, or said not to be.
        (
            "[server]\ntcp = '0.0.0.0:7420'\nhttp = '[::]:7421'",
            &[
                (2, "`tcp`: other machines reach 0.0.0.0:7420: write `tls_cert` and `tls_key`, or insecure = true"),
                (3, "`http`: other machines reach [::]:7421"),
            ],
        ),
        ("[server]\ntcp = '192.0.2.1:0'\ninsecure = false", &[(2, "other machines reach 192.0.2.1:0")]),
        ("[server]\ntcp = '0.0.0.0:7420'\ntls_cert = '/a'", &[(3, "`tls_cert`: there is no `tls_key`: write both")]),
        ("[server]\ntls_key = '/a'", &[(2, "`tls_key`: there is no `tls_cert`")]),
        (
            "[server]\ntls_cert = 'a.pem'\ntls_key = 3",
            &[(2, "`tls_cert`: \"a.pem\" is not an absolute path"), (3, "`tls_key`: a path in quotes is needed")],
        ),
        ("[server]\ninsecure = 'yes'", &[(2, "`insecure`: true or false")]),
        (
            "[server]\nallowed_origins = [\n'*',\n'https://a/',\n'a',\n'https://a']",
            &[(3, "`*` would let every site in"), (4, "is more than an origin"), (5, "is no origin")],
        ),
        ("[server]\nallowed_origins = 'https://a'", &[(2, "a list of origins as")]),
        ("[server]\nbackup_on_shutdown = 1", &[(2, "`backup_on_shutdown`: true or false")]),
        ("[server]\nbackup_on_shutdown_within = '25h'", &[(2, "\"25h\" is out of bounds: 1s to 24h")]),
        ("[server]\ngrace = '11m'", &[(2, "`grace`: \"11m\" is out of bounds: 0s to 10m")]),
        ("[server]\ngrace = 10", &[(2, "`grace`: a duration as")]),
        ("[server]\nlog = 'xml'", &[(2, "`log`: \"xml\" is not known: \"text\" or \"json\"")]),
        ("[server]\nlog_level = 'inof'", &[(2, "\"inof\" is no level: did you mean \"info\"? write error, warn")]),
        ("[server]\nlog_level = 'info,verbose'", &[(2, "\"verbose\" is no level: write error, warn")]),
        ("[server]\nlog_level = 'holdfast=loud'", &[(2, "\"holdfast=loud\" is no filter")]),
        ("[server]\nlog_level = ''", &[(2, "`log_level`: write error, warn")]),
        ("[server]\nlimits = 3", &[(2, "a part [server.limits] is needed, not a whole number")]),
        (
            "[server.limits]\nconections = 3",
            &[(2, "[server.limits] has no key `conections`: did you mean `connections`?")],
        ),
        ("[server.limits]\nmessage = '1 KiB'", &[(2, "1024 bytes are out of bounds: 4 KiB to 64 MiB")]),
        ("[server.limits]\nanswer = '1 GiB'", &[(2, "1073741824 bytes are out of bounds: 64 KiB to 256 MiB")]),
        ("[server.limits]\nmessage = '8 KiB'", &[(2, "`message`: `message_before_auth` (65536) must not be above")]),
        ("[server.limits]\npage = 1001", &[(2, "`page`: `page` (1001) must not be above `page_max` (1000)")]),
        ("[server.limits]\nws_idle = '500ms'", &[(2, "`ws_idle`: \"500ms\" is out of bounds: 1s to 1h")]),
        ("[server.limits]\nburst = 0", &[(2, "`burst`: a whole number from 1 to 100000 is needed, not 0")]),
        ("[server.limits]\nconnections = 0", &[(2, "`connections`: a whole number from 1 to 10000")]),
    ]);
    for level in ["trace", "WARN", "off", "info,holdfast=debug", "warn,[run{run_id=a}]=trace", "holdfast::engine"] {
        parse(&format!("[server]\nlog_level = '{level}'")).unwrap();
    }
    for loopback in ["127.8.9.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        parse(&format!("[server]\ntcp = '{loopback}'")).unwrap();
    }
    parse("[server]\ninsecure = true\ntcp = '0.0.0.0:1'\nhttp = '192.0.2.1:2'").unwrap();
    let many = format!("[server]\nallowed_origins = [{}]", "'https://a',".repeat(65));
    expect_wrong(&[(&many, &[(2, "`allowed_origins`: 64 at most")])]);
}

#[test]
fn only_what_is_listened_on_and_how_needs_a_restart() {
    let old = parse(super::WHOLE).unwrap();
    assert!(old.needs_restart(&old).is_empty());
    let at_once = "[runs]\nmax_parallel = 2\n[pipeline]\nworkers = 2\n[space]\nmin_free = 3\n\
                   [server]\nlog_level = 'debug'\ngrace = '1s'\n[server.limits]\nconnections = 3\n";
    assert!(old.needs_restart(&parse(at_once).unwrap()).is_empty());

    let (tls, plain) = (parse(WHOLE).unwrap(), Config::default());
    assert_eq!(plain.needs_restart(&tls), ["server.tcp", "server.http", "server.tls_cert", "server.log"]);
    let renewed = parse(&WHOLE.replace("server.pem", "renewed.pem")).unwrap();
    assert!(tls != renewed && tls.needs_restart(&renewed).is_empty(), "another certificate is put in place");
    assert_eq!(plain.needs_restart(&parse("[pipeline]\nworkers = 1").unwrap()), ["pipeline.workers"]);
}
