//! The log against what a client can know, and the order of service. Times have lower bounds only: a busy machine makes
//! things late, never early.

use crate::client::{CHAT, Client, chat, instant, paced, start};
use std::io::Write;
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_sim::{LogPlan, Service, SimConfig};

#[test]
fn the_log_brackets_every_answer() {
    let (ttft, itl) = (Nanos::from_millis(5), Nanos::from_millis(3));
    let sim = start(paced(ttft, itl));
    let mut client = Client::connect(&sim);
    for turn in 0..3 {
        let before = sim.clock().now();
        client.post(CHAT, &chat(4, true, ""));
        let after = sim.clock().now();
        let log = sim.log();
        assert_eq!(log.len(), turn + 1);
        let request = &log[turn];
        assert_eq!((request.number, request.status, request.complete), (turn as u64, 200, true));
        assert_eq!((request.prompt_tokens, request.output_tokens), (10, 4));
        assert!(before <= request.received && request.received <= request.writes[0].at);
        assert!(request.writes.last().unwrap().at <= after);
        assert_eq!(request.writes.iter().map(|write| write.events).collect::<Vec<_>>(), [1, 1, 1, 1]);
        for (token, write) in request.writes.iter().enumerate() {
            assert!(write.at >= request.received + ttft + Nanos(itl.0 * token as i64), "token {token} came early");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn receive_stamps_are_the_kernels() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::ZERO));
    let mut client = Client::connect(&sim);
    // The kernel turns its stamping on some time after the first socket has asked for it.
    let stamped = (0..200).any(|_| {
        client.post(CHAT, &chat(1, true, ""));
        sim.log().last().unwrap().kernel_stamp
    });
    assert!(stamped);
}

#[test]
fn a_saturated_answer_is_few_writes() {
    let sim = start(instant());
    let mut client = Client::connect(&sim);
    client.post(CHAT, &chat(2, true, ""));
    client.post(CHAT, &chat(1000, true, ""));
    let log = sim.log();
    assert_eq!(log[0].writes.iter().map(|write| write.events).collect::<Vec<_>>(), [2]);
    let events: Vec<u32> = log[1].writes.iter().map(|write| write.events).collect();
    assert_eq!(events.iter().sum::<u32>(), 1000);
    assert!((10..=20).contains(&events.len()), "{events:?}");
}

#[test]
fn a_full_batch_makes_the_next_wait() {
    let config = paced(Nanos::from_millis(2), Nanos::from_millis(2));
    let service = Service { max_batch: 1, ..config.service };
    let sim = start(SimConfig { service, ..config });
    let mut clients = [0, 1, 2].map(|_| Client::connect(&sim));
    for client in &mut clients {
        client.send("POST", CHAT, &chat(5, true, ""));
    }
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().status, 200);
    }
    let log = sim.log();
    for pair in log.windows(2) {
        let ended = pair[0].writes.last().unwrap().at;
        assert!(pair[1].writes[0].at >= ended + Nanos::from_millis(2));
    }
}

#[test]
fn a_request_that_comes_during_an_answer_is_served_after_it() {
    let sim = start(paced(Nanos::from_millis(2), Nanos::from_millis(2)));
    let mut client = Client::connect(&sim);
    client.send("POST", CHAT, &chat(20, true, ""));
    std::thread::sleep(std::time::Duration::from_millis(10));
    client.send("POST", CHAT, &chat(1, true, ""));
    let text = client.until(|text| text.matches("[DONE]\n\n\r\n0\r\n\r\n").count() == 2);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn a_client_that_leaves_makes_its_answer_incomplete() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::from_millis(1)));
    let mut client = Client::connect(&sim);
    client.send("POST", CHAT, &chat(10_000, true, ""));
    let mut first = [0; 100];
    std::io::Read::read_exact(&mut client.tcp, &mut first).unwrap();
    drop(client);
    let request = loop {
        match sim.log().pop() {
            Some(request) => break request,
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    assert!(!request.complete && request.writes.len() < 10_000);
}

#[test]
fn a_stop_keeps_what_was_in_flight() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::from_millis(60_000)));
    let mut client = Client::connect(&sim);
    client.send("POST", CHAT, &chat(5, true, ""));
    let mut first = [0; 100];
    std::io::Read::read_exact(&mut client.tcp, &mut first).unwrap();
    let log = sim.stop().unwrap();
    assert_eq!((log.len(), log[0].complete, log[0].writes.len()), (1, false, 1));
}

#[test]
fn the_log_file_holds_every_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sim.jsonl");
    let plan = LogPlan { keep: Some(10), file: Some(path.clone()) };
    let sim = start(SimConfig { log: plan, ..instant() });
    let anchor = sim.clock().anchor_wall();
    let mut client = Client::connect(&sim);
    for _ in 0..600 {
        client.post(CHAT, &chat(3, true, ""));
    }
    client.tcp.flush().unwrap();
    assert_eq!(sim.stop().unwrap().len(), 10);
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 600);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["id"], format!("chatcmpl-{number:016x}"));
        assert_eq!((&line["status"], &line["writes"][0][1]), (&200.into(), &3.into()));
        let received = line["recv_ns"].as_i64().unwrap();
        assert!(anchor <= received && received <= line["writes"][0][0].as_i64().unwrap());
    }
}
