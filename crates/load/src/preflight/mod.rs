//! Forecasts before the load which resources of this system a plan exhausts: descriptors and ports. A plan that cannot work is refused. If
//! a resource may run out during the run, a note says so. Both give the numbers and the setting to change.

pub(crate) mod descriptors;
mod ports;

use crate::routes::Routes;
use ports::Ports;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::message;
use streamgauge_core::plan::{ConnectionPolicy, PhasePlan, RunPlan};
use streamgauge_core::record::Phase;
use streamgauge_core::setting::{Explain, Message, Setting};
use thiserror::Error;

/// Few answers take longer than this: what happens only beyond it is not worth a note.
const LONG_ANSWER: f64 = 60.0;

/// The limits of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open files of this process; `None` if the limit is unknown.
    pub descriptors: Option<u64>,
    /// Ports for outgoing connections; `None` if their number is unknown.
    pub ports: Option<Ports>,
}

impl Limits {
    /// This system's, after the limit on open files was raised as far as it lets us.
    pub fn of_this_system() -> Limits {
        Limits { descriptors: descriptors::raise_limit(), ports: Ports::of_this_system() }
    }
}

/// The plan wants more at once than the system has.
#[derive(Debug, Error)]
#[error("{}", self.message())]
pub enum Refusal {
    /// Open files.
    Descriptors {
        /// The setting that asked for the streams.
        setting: Setting,
        /// Streams at once.
        streams: u32,
        /// Open files allowed.
        limit: u64,
        /// Open files a stream.
        each: DescriptorsPerStream,
        /// Open files that would be enough.
        needed: u64,
        /// Streams that would fit: at least one.
        most: u32,
    },
    /// Not even one stream's open files.
    NoStream {
        /// The kind of load.
        load: String,
        /// Open files allowed.
        limit: u64,
        /// Open files a stream.
        each: DescriptorsPerStream,
        /// Open files that would be enough.
        needed: u64,
    },
    /// Ports.
    Ports {
        /// The setting that asked for the streams.
        setting: Setting,
        /// Streams at once.
        streams: u32,
        /// The address that too many of them go to.
        address: SocketAddr,
        /// Ports to one address.
        ports: u32,
        /// Streams that would fit.
        most: u32,
    },
}

impl Explain for Refusal {
    fn message(&self) -> Message {
        match self {
            Refusal::Descriptors { setting, streams, limit, each, needed, most } => message![
                *setting,
                format!(
                    " {streams}: {}; raise the limit to {needed} or more (ulimit -n {needed}) or give at most {most}",
                    each.there(*limit)
                )
            ],
            Refusal::NoStream { load, limit, each, needed } => message![format!(
                "{load}: {}, so that none fits; raise the limit to {needed} or more (ulimit -n {needed})",
                each.there(*limit)
            )],
            Refusal::Ports { setting, streams, address, ports, most } => message![
                *setting,
                format!(
                    " {streams}: this system has {ports} ports for connections to {address}, and each stream takes one; widen the range (sysctl net.ipv4.ip_local_port_range) or give at most {most}"
                )
            ],
        }
    }
}

/// The open files of one stream (a connection to each server, and its other end if that is in this process too), and those that the
/// program needs besides all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorsPerStream {
    servers: u64,
    ends: u64,
    others: u64,
}

impl DescriptorsPerStream {
    fn count(self) -> u64 {
        self.servers * self.ends
    }

    /// The open files for this number of streams and the program.
    fn needed(self, streams: u64) -> u64 {
        self.others + streams * self.count()
    }

    /// The available and the required number of files.
    fn there(self, limit: u64) -> String {
        format!(
            "this system allows the process {limit} open files, of which {} are for the program and its load threads, and each stream takes {self}",
            self.others
        )
    }
}

impl fmt::Display for DescriptorsPerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.servers, self.ends) {
            (1, 1) => f.write_str("one"),
            (1, ends) => write!(f, "{ends}, the simulated server's included"),
            (servers, 1) => write!(f, "{servers}, one for each server"),
            _ => write!(f, "{}, for {} servers and the simulated ones' ends", self.count(), self.servers),
        }
    }
}

/// Holds `plan` against `limits`: what may run out, each a sentence.
///
/// # Errors
/// When more is wanted at once than there is.
pub fn forecast(plan: &RunPlan, routes: &Routes, limits: &Limits) -> Result<Vec<Message>, Refusal> {
    let (servers, ends) = (routes.len() as u64, routes.ends());
    let each = DescriptorsPerStream { servers, ends, others: descriptors::others(plan, ends) };
    look_ahead(&plan.phases(), plan.transport.connections, &Spread::new(&routes.addresses()), each, limits)
}

fn look_ahead(
    phases: &[PhasePlan],
    policy: ConnectionPolicy,
    spread: &Spread,
    each: DescriptorsPerStream,
    limits: &Limits,
) -> Result<Vec<Message>, Refusal> {
    let mut notes = Vec::new();
    // The measured phase first: what the warm-up shares with it is said in its words.
    for phase in phases.iter().rev() {
        let found = [
            limits.descriptors.map(|limit| open_files(phase, each, limit)),
            limits.ports.map(|ports| ports_at_once(phase, spread, ports)),
            limits.ports.map(|ports| Ok(ports_over_time(phase, policy, spread, ports))),
        ];
        let found: Vec<Option<Message>> = found.into_iter().flatten().collect::<Result<_, _>>()?;
        if notes.is_empty() {
            notes.extend(found.into_iter().flatten());
        }
    }
    Ok(notes)
}

/// How connections and requests are spread over addresses: evenly, which by least in flight is only to be expected.
#[derive(Debug, Default)]
struct Spread(BTreeMap<SocketAddr, Share>);

/// The number of connections to one address.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Share {
    /// Connections for each stream.
    of_streams: f64,
    /// The part of the requests that goes there.
    of_requests: f64,
}

impl Spread {
    /// A stream has a connection to each server, and the connections to a server go to its addresses in turn.
    fn new(servers: &[Vec<SocketAddr>]) -> Spread {
        let mut spread = Spread::default();
        for addresses in servers {
            for address in addresses {
                let share = spread.0.entry(*address).or_default();
                share.of_streams += 1.0 / addresses.len() as f64;
                share.of_requests += 1.0 / (addresses.len() * servers.len()) as f64;
            }
        }
        spread
    }

    /// The address that most streams are connected to.
    fn busiest(&self) -> Option<(SocketAddr, Share)> {
        let all = self.0.iter().map(|(address, share)| (*address, *share));
        all.reduce(|most, next| if next.1.of_streams > most.1.of_streams { next } else { most })
    }
}

/// The setting that bounds the streams of a phase.
fn bounding_setting(phase: &PhasePlan) -> Setting {
    match (&phase.load, phase.phase) {
        (Load::Users { .. }, _) => Setting::NumUsers,
        (Load::Growing(_), _) => Setting::PeriodicConcurrencyRange,
        (_, Phase::Profiling) => Setting::Concurrency,
        (_, Phase::Warmup) => Setting::WarmupConcurrency,
    }
}

fn open_files(phase: &PhasePlan, each: DescriptorsPerStream, limit: u64) -> Result<Option<Message>, Refusal> {
    let most = descriptors::room_within(limit, each.others, each.count());
    let streams = phase.load.most();
    if most == 0 {
        let needed = each.needed(u64::from(streams.unwrap_or(1)));
        return Err(Refusal::NoStream { load: phase.load.to_string(), limit, each, needed });
    }
    match streams {
        Some(streams) if streams > most => {
            let needed = each.needed(u64::from(streams));
            Err(Refusal::Descriptors { setting: bounding_setting(phase), streams, limit, each, needed, most })
        }
        Some(_) => Ok(None),
        None => Ok(all_in_use(phase, most, &each.there(limit), "wait", "raise the limit (ulimit -n)")),
    }
}

fn ports_at_once(phase: &PhasePlan, spread: &Spread, ports: Ports) -> Result<Option<Message>, Refusal> {
    let Some((address, share)) = spread.busiest() else { return Ok(None) };
    // At least as many as ports: a stream has no more than one connection to an address, unless addresses repeat.
    let most = (f64::from(ports.count) / share.of_streams) as u32;
    match phase.load.most() {
        Some(streams) if streams > most => {
            Err(Refusal::Ports { setting: bounding_setting(phase), streams, address, ports: ports.count, most })
        }
        Some(_) => Ok(None),
        None => {
            let there = format!(
                "this system has {} ports for connections to {address}, and each stream takes one",
                ports.count
            );
            let change = "widen the range (sysctl net.ipv4.ip_local_port_range)";
            Ok(all_in_use(phase, most, &there, "fail", change))
        }
    }
}

/// When an open loop without a cap would have all of `room` connections in use, if that is within reason.
fn all_in_use(phase: &PhasePlan, room: u32, there: &str, then: &str, change: &str) -> Option<Message> {
    if requests(phase).is_some_and(|requests| requests <= u64::from(room)) {
        return None;
    }
    let rate = phase.load.peak_rate();
    let answer = f64::from(room) / rate;
    if answer >= LONG_ANSWER {
        return None;
    }
    let when = match answer < 0.1 {
        true => "at once".to_owned(),
        false => format!("when answers take longer than {} s", rounded(answer)),
    };
    let load = &phase.load;
    Some(message![format!(
        "{load}: {there}; the {room} that fit are all in use {when}, and later requests {then}; {change}"
    )])
}

/// Requests of a phase at most, where something bounds them.
fn requests(phase: &PhasePlan) -> Option<u64> {
    let scheduled = match &phase.load {
        Load::Open { arrivals, .. } => arrivals.count(),
        Load::Growing(growth) => Some(growth.end.into()),
        Load::Concurrency(_) | Load::Users { .. } => None,
    };
    phase.requests.into_iter().chain(scheduled).min()
}

/// Connections that we close keep their ports for a while: whether there are enough until then.
fn ports_over_time(phase: &PhasePlan, policy: ConnectionPolicy, spread: &Spread, ports: Ports) -> Option<Message> {
    let each = match policy {
        ConnectionPolicy::Reuse => return None,
        ConnectionPolicy::New => 1.0,
        ConnectionPolicy::Rotate(requests) => f64::from(requests.max(1)),
    };
    let closed = |address: &SocketAddr, share: &Share| {
        let kept = ports.kept(address.ip());
        let open = f64::from(phase.load.most().unwrap_or(0)) * share.of_streams;
        let free = (f64::from(ports.count) - open).max(0.0);
        Closed { address: *address, kept, free, share: share.of_requests / each }
    };
    let all = spread.0.iter().map(|(address, share)| closed(address, share));
    let worst =
        all.reduce(|worst, next| if next.requests_per_second() < worst.requests_per_second() { next } else { worst })?;
    worst.finding(phase, policy, ports, each)
}

/// The closed connections to one address.
struct Closed {
    address: SocketAddr,
    /// How long each keeps its port.
    kept: Nanos,
    /// Ports for them.
    free: f64,
    /// How many there are for each request of the run.
    share: f64,
}

impl Closed {
    /// The run's rate at which there are just enough ports.
    fn requests_per_second(&self) -> f64 {
        self.free / (self.share * self.kept.as_secs_f64())
    }

    fn finding(&self, phase: &PhasePlan, policy: ConnectionPolicy, ports: Ports, each: f64) -> Option<Message> {
        let Closed { address, kept, free, share } = self;
        let bound = requests(phase).map_or(f64::INFINITY, |requests| requests as f64);
        if bound * share <= *free {
            return None;
        }
        let minute = *kept > Nanos::from_millis(1_000);
        let rate = phase.load.peak_rate();
        // The rate of a closed loop is decided by the server, and no server answers as fast as ports become free after a second.
        let is_closed_loop = rate == 0.0;
        let time = phase.duration.map_or(*kept, |duration| duration.min(*kept)).as_secs_f64();
        let wanted = (rate * time).min(bound) * share;
        let is_enough = if is_closed_loop { !minute } else { wanted <= *free };
        if is_enough {
            return None;
        }
        let limit = rounded(self.requests_per_second());
        let enough = (wanted * each / free).ceil();
        let rotate = match is_closed_loop || !enough.is_finite() {
            true => "rotate:N".to_owned(),
            false => format!("rotate:N with N of {enough} or more"),
        };
        let kept = kept.as_secs_f64();
        let note = message![
            Setting::Connections,
            format!(
                " {policy}, {}: a port is in use for {kept} s after its connection was closed, and this system has {} for {address}: at over {limit} requests/s there are none left; keep connections longer (",
                phase.load, ports.count,
            ),
            Setting::Connections,
            format!(" reuse, or {rotate}), or widen the range (sysctl net.ipv4.ip_local_port_range)"),
        ];
        let again = ", or let ports be taken again after a second (sysctl net.ipv4.tcp_tw_reuse=1)";
        Some(if minute { note.then(again) } else { note })
    }
}

/// Three digits, for people.
fn rounded(number: f64) -> String {
    if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

#[cfg(test)]
mod tests {
    use super::ports::Early;
    use super::*;
    use streamgauge_core::arrival::{Arrival, Rate};
    use streamgauge_core::load::{Arrivals, Places};

    fn open(rate: f64, cap: Option<u32>) -> Load {
        let arrivals = Arrivals::steady(Rate::try_new(rate).unwrap(), Arrival::Constant);
        Load::Open { arrivals, cap: cap.map(Places::all) }
    }

    fn phase(load: Load, requests: Option<u64>, duration: Option<Nanos>) -> PhasePlan {
        PhasePlan { phase: Phase::Profiling, load, prefill: None, requests, duration, grace: Nanos::ZERO }
    }

    fn addresses(of: &[&str]) -> Vec<SocketAddr> {
        of.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn one() -> Spread {
        Spread::new(&[addresses(&["10.0.0.1:8000"])])
    }

    const PLAIN: DescriptorsPerStream = DescriptorsPerStream { servers: 1, ends: 1, others: 64 };
    const PORTS: Ports = Ports { count: 28_232, early: Early::Loopback };

    #[test]
    fn streams_take_descriptors_for_each_server_and_each_end() {
        let refused = |streams, each, limit| {
            open_files(&phase(Load::concurrency(streams), None, None), each, limit).map_err(|error| error.to_string())
        };
        assert_eq!(refused(16, PLAIN, 80), Ok(None));
        assert_eq!(
            refused(17, PLAIN, 80).unwrap_err(),
            "--concurrency 17: this system allows the process 80 open files, of which 64 are for the program and its load threads, and each stream takes one; raise the limit to 81 or more (ulimit -n 81) or give at most 16"
        );
        let three = refused(17, DescriptorsPerStream { servers: 3, ..PLAIN }, 100).unwrap_err();
        assert!(
            three.contains("each stream takes 3, one for each server;") && three.ends_with("at most 12"),
            "{three}"
        );
        assert_eq!(refused(12, DescriptorsPerStream { servers: 3, ..PLAIN }, 100), Ok(None));
        let here = refused(19, DescriptorsPerStream { ends: 2, ..PLAIN }, 100).unwrap_err();
        assert!(here.contains("takes 2, the simulated server's included;") && here.ends_with("at most 18"), "{here}");
        let capped = open_files(&phase(open(10.0, Some(17)), None, None), PLAIN, 80).unwrap_err().to_string();
        assert!(capped.starts_with("--concurrency 17: "), "{capped}");
        let users = Load::Users { users: 17, rate: Rate::try_new(1.0).unwrap() };
        let users = open_files(&phase(users, None, None), PLAIN, 80).unwrap_err().to_string();
        assert!(users.starts_with("--num-users 17: "), "{users}");
    }

    #[test]
    fn where_no_stream_fits_every_load_is_refused_with_what_is_needed() {
        let refused = |load, each, limit| {
            let refusal = open_files(&phase(load, None, None), each, limit).unwrap_err();
            assert!(matches!(refusal, Refusal::NoStream { .. }), "{refusal:?}");
            refusal.to_string()
        };
        assert_eq!(
            refused(Load::concurrency(4), PLAIN, 64),
            "concurrency 4: this system allows the process 64 open files, of which 64 are for the program and its load threads, and each stream takes one, so that none fits; raise the limit to 68 or more (ulimit -n 68)"
        );
        let scheduled = refused(open(100.0, None), DescriptorsPerStream { servers: 3, ..PLAIN }, 66);
        let expected = "takes 3, one for each server, so that none fits; raise the limit to 67 or more (ulimit -n 67)";
        assert!(scheduled.starts_with("100.0 requests/s (constant): ") && scheduled.ends_with(expected), "{scheduled}");
        let users = Load::Users { users: 2, rate: Rate::try_new(1.0).unwrap() };
        assert!(refused(users, PLAIN, 10).ends_with("raise the limit to 66 or more (ulimit -n 66)"));
        // A plan that may fit is run, with a note about what may happen.
        assert!(open_files(&phase(open(100.0, None), None, None), PLAIN, 65).unwrap().is_some());
    }

    #[test]
    fn the_warm_up_may_be_what_is_too_large() {
        let warmup = PhasePlan { phase: Phase::Warmup, ..phase(Load::concurrency(17), None, None) };
        let refused = open_files(&warmup, PLAIN, 80).unwrap_err().to_string();
        assert!(refused.starts_with("--warmup-concurrency 17: "), "{refused}");
    }

    #[test]
    fn an_open_loop_without_a_cap_is_told_which_answers_would_take_all() {
        let note = |load, requests, limit| {
            open_files(&phase(load, requests, None), PLAIN, limit).unwrap().map(|note| note.to_string())
        };
        assert_eq!(
            note(open(200.0, None), None, 1_024).unwrap(),
            "200.0 requests/s (constant): this system allows the process 1024 open files, of which 64 are for the program and its load threads, and each stream takes one; the 960 that fit are all in use when answers take longer than 4.8 s, and later requests wait; raise the limit (ulimit -n)"
        );
        assert_eq!(note(open(200.0, None), None, 20_000), None);
        // This number of requests cannot exhaust them.
        assert_eq!(note(open(200.0, None), Some(960), 1_024), None);
        assert!(
            note(open(f64::INFINITY, None), Some(961), 1_024)
                .unwrap()
                .contains("the 960 that fit are all in use at once, and later requests wait;")
        );
    }

    #[test]
    fn streams_take_a_port_for_each_address() {
        let refused = |streams, spread: &Spread| {
            ports_at_once(&phase(Load::concurrency(streams), None, None), spread, PORTS)
                .map_err(|error| error.to_string())
        };
        assert_eq!(refused(28_232, &one()), Ok(None));
        assert_eq!(
            refused(28_233, &one()).unwrap_err(),
            "--concurrency 28233: this system has 28232 ports for connections to 10.0.0.1:8000, and each stream takes one; widen the range (sysctl net.ipv4.ip_local_port_range) or give at most 28232"
        );
        // A name with two addresses has twice the room, and a further server needs none of it.
        let two = Spread::new(&[addresses(&["10.0.0.1:80", "10.0.0.2:80"]), addresses(&["10.0.0.3:80"])]);
        assert_eq!(refused(28_232, &two), Ok(None));
        assert!(refused(28_233, &two).unwrap_err().contains("to 10.0.0.3:80"));
        // The same server under two names has half the room.
        let twice = Spread::new(&[addresses(&["10.0.0.1:80"]), addresses(&["10.0.0.1:80"])]);
        assert!(refused(14_117, &twice).unwrap_err().ends_with("at most 14116"));
        let uncapped =
            ports_at_once(&phase(open(1_000.0, None), None, None), &one(), PORTS).unwrap().unwrap().to_string();
        assert!(uncapped.contains(
            "the 28232 that fit are all in use when answers take longer than 28.2 s, and later requests fail;"
        ));
    }

    #[test]
    fn connections_closed_at_a_rate_use_ports_for_a_minute() {
        let note = |policy, rate, count, to: &str| {
            ports_over_time(
                &phase(open(rate, Some(232)), count, None),
                policy,
                &Spread::new(&[addresses(&[to])]),
                PORTS,
            )
            .map(|note| note.to_string())
        };
        let far = "10.0.0.1:8000";
        // (28,232 − 232) / 60 s.
        assert_eq!(note(ConnectionPolicy::New, 466.0, None, far), None);
        assert_eq!(
            note(ConnectionPolicy::New, 1_000.0, None, far).unwrap(),
            "--connections new, 1000.0 requests/s (constant), at most 232 at once: a port is in use for 60 s after its connection was closed, and this system has 28232 for 10.0.0.1:8000: at over 467 requests/s there are none left; keep connections longer (--connections reuse, or rotate:N with N of 3 or more), or widen the range (sysctl net.ipv4.ip_local_port_range), or let ports be taken again after a second (sysctl net.ipv4.tcp_tw_reuse=1)"
        );
        assert_eq!(note(ConnectionPolicy::Reuse, 1_000.0, None, far), None);
        assert_eq!(note(ConnectionPolicy::Rotate(3), 1_000.0, None, far), None);
        assert!(note(ConnectionPolicy::Rotate(2), 1_000.0, None, far).unwrap().contains("over 933 requests/s"));
        // Not more in all than there are ports.
        assert_eq!(note(ConnectionPolicy::New, 1_000.0, Some(28_000), far), None);
        assert!(note(ConnectionPolicy::New, 1_000.0, Some(28_001), far).is_some());
        // If ports become free after a second, exhausting them takes a higher rate than any server answers.
        assert_eq!(note(ConnectionPolicy::New, 28_000.0, None, "127.0.0.1:8000"), None);
        let loopback = note(ConnectionPolicy::New, 28_001.0, None, "127.0.0.1:8000").unwrap();
        assert!(loopback.contains("in use for 1 s") && !loopback.contains("tcp_tw_reuse"), "{loopback}");
    }

    #[test]
    fn a_short_run_closes_fewer() {
        let note = |seconds: i64| {
            let duration = Some(Nanos::from_millis(seconds * 1_000));
            ports_over_time(&phase(open(1_000.0, Some(232)), None, duration), ConnectionPolicy::New, &one(), PORTS)
        };
        assert!(note(28).is_none() && note(29).is_some());
    }

    #[test]
    fn a_closed_loop_is_judged_by_its_count() {
        let note = |count, policy| {
            let note = ports_over_time(&phase(Load::concurrency(232), count, None), policy, &one(), PORTS);
            note.map(|note| note.to_string())
        };
        assert_eq!(note(Some(28_000), ConnectionPolicy::New), None);
        assert_eq!(note(Some(280_000), ConnectionPolicy::Rotate(10)), None);
        let told = note(Some(28_001), ConnectionPolicy::New).unwrap();
        assert!(told.starts_with("--connections new, concurrency 232: a port is in use for 60 s"), "{told}");
        assert!(told.contains("at over 467 requests/s") && told.contains("or rotate:N), or"), "{told}");
        assert!(note(None, ConnectionPolicy::New).is_some());
        let loopback = Spread::new(&[addresses(&["[::1]:8000"])]);
        let load = phase(Load::concurrency(232), None, None);
        assert_eq!(ports_over_time(&load, ConnectionPolicy::New, &loopback, PORTS), None);
    }

    #[test]
    fn requests_and_streams_are_spread_over_servers_and_their_addresses() {
        let spread = Spread::new(&[addresses(&["10.0.0.1:80", "10.0.0.2:80"]), addresses(&["10.0.0.3:80"])]);
        let shares: Vec<(f64, f64)> = spread.0.values().map(|share| (share.of_streams, share.of_requests)).collect();
        assert_eq!(shares, [(0.5, 0.25), (0.5, 0.25), (1.0, 0.5)]);
        let note =
            |rate| ports_over_time(&phase(open(rate, Some(232)), None, None), ConnectionPolicy::New, &spread, PORTS);
        // Half the requests go to the third address.
        assert!(note(930.0).is_none() && note(940.0).unwrap().to_string().contains("10.0.0.3:80"));
    }

    #[test]
    fn where_the_system_does_not_tell_nothing_is_foretold() {
        let unknown = Limits { descriptors: None, ports: None };
        let phases = [phase(Load::concurrency(100_000), Some(1), None)];
        let look = |limits| look_ahead(&phases, ConnectionPolicy::New, &one(), PLAIN, &limits);
        assert!(look(unknown).unwrap().is_empty());
        let known = |descriptors, count| Limits { descriptors, ports: Some(Ports { count, ..PORTS }) };
        assert!(matches!(look(known(Some(100), 9)), Err(Refusal::Descriptors { .. })));
        assert!(matches!(look(known(None, 9)), Err(Refusal::Ports { .. })));
        assert!(look(known(None, 200_000)).unwrap().is_empty());
    }
}
