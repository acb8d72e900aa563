//! Three hundred model devices, with the daemon's own state machine and client: what
//! `cargo xtask fleet --devices` plays with many more of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchback_testkit::fleet::{
    Clocks, Count, Crowd, FIRST, Fate, NEXT, Network, Options, Person, Whom,
};

use crate::harness::Server;

const DEVICES: u32 = 300;
/// Seconds of an hour.
const HOUR: u64 = 2;

/// A server that all devices came to, and a rollout that has begun.
fn begin(fate: Fate, network: Network) -> (Server, Crowd, String) {
    let server = Server::start();
    let person = Person::new(&server.base, &server.admin).unwrap();
    person.register(FIRST).unwrap();
    person.register(NEXT).unwrap();
    let options = Options {
        bases: vec![server.base.clone()],
        enroll: server.person("factory", "enroll"),
        devices: DEVICES,
        threads: 8,
        hour: Duration::from_secs(HOUR),
        first_polls: Duration::from_secs(1),
        fate: (fate, Whom::All),
        network,
        clocks: Clocks::Wrong,
    };
    let crowd = Crowd::start(options, Vec::new()).unwrap();
    gather(&crowd);
    let waves =
        [json!(1), json!("10%"), json!("100%")].map(|reach| json!({"reach": reach, "soak": 1}));
    let rollout = person.roll_out(&json!({"plan": {"waves": waves}, "deadline": 20}));
    (server, crowd, rollout.unwrap())
}

/// Waits, a minute at most: other tests run beside this one.
fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn gather(crowd: &Crowd) {
    until("all devices are there", || {
        crowd.seen().described.get() == DEVICES
    });
}

fn tally(server: &Server, rollout: &str) -> Value {
    server.get(&format!("/api/v1/rollouts/{rollout}"))["tally"].clone()
}

#[test]
fn all_get_a_good_release_once_although_the_server_is_killed() {
    let (mut server, crowd, rollout) = begin(Fate::Well, Network::Good);
    let seen = crowd.seen();
    // In the middle of the last wave.
    until("many are at it", || seen.took.get() > DEVICES / 4);
    server.kill_and_start_again();
    crowd.moved(vec![server.base.clone()]);
    until("all have it", || server.phase(&rollout) == "finished");
    assert_eq!((seen.took.get(), seen.committed.get()), (DEVICES, DEVICES));
    assert_eq!(
        (seen.twice.get(), seen.refused.get(), seen.stuck.get()),
        (0, 0, 0)
    );
    assert_eq!(tally(&server, &rollout)["succeeded"], DEVICES);
    let (figures, _) = crowd.end();
    assert!(figures.polls > DEVICES && figures.p99_us > 0, "{figures:?}");
}

#[test]
fn one_device_gets_what_fails_on_boot() {
    let (server, crowd, rollout) = begin(Fate::DiesAtBoot, Network::Good);
    let seen = crowd.seen();
    until("it stops", || server.phase(&rollout) == "paused");
    // Longer than a poll of everybody.
    std::thread::sleep(Duration::from_secs(3));
    let counts = [&seen.took, &seen.starts, &seen.went_back, &seen.committed];
    assert_eq!(counts.map(Count::get), [1, 3, 1, 0]);
    assert_eq!((seen.twice.get(), seen.stuck.get()), (0, 0));
    assert_eq!(tally(&server, &rollout)["rolled_back"], 1);
}

#[test]
fn lost_answers_count_nobody_twice() {
    let (server, crowd, rollout) = begin(Fate::Well, Network::Flaky);
    let seen = crowd.seen();
    until("all have it", || server.phase(&rollout) == "finished");
    assert_eq!((seen.took.get(), seen.committed.get()), (DEVICES, DEVICES));
    assert_eq!((seen.twice.get(), seen.stuck.get()), (0, 0));
    assert!(seen.told_again.get() > 0 && seen.broken.get() > 0);
    assert_eq!(tally(&server, &rollout)["succeeded"], DEVICES);
}
