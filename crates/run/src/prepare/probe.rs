//! The probe: one test request ahead of the load, in no figure, as the load will send it. It shows whether the server answers at
//! all, and settles how it is asked: where it really is, and which members of the body it takes.

use crate::error::Interrupted;
use crate::listener::Listener;
use crate::prepare::hints::{self, Mishap};
use crate::prepare::job::job;
use crate::prepare::redirect;
use crate::prepare::settled::{Settled, Wording};
use crate::prepare::shared::Preparation;
use anyhow::{Result, bail};
use std::collections::VecDeque;
use std::sync::Arc;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::message;
use streamgauge_core::plan::{Endpoint, ExportLevel, LengthField, RunPlan, Timeouts};
use streamgauge_core::prompt::Prompt;
use streamgauge_core::record::{Failure, FailureClass, Outcome};
use streamgauge_core::secrets::{Secrets, shown_url};
use streamgauge_core::setting::{Message, Setting};
use streamgauge_core::text::clip;
use streamgauge_load::{Control, Finished, Job, Probed, Routes, Waiting, delayed_acks, probe, spoken};
use streamgauge_wire::endpoints::{OutputLength, spec};
use streamgauge_wire::names_field;

/// Characters of an answer that is shown because it is none.
const SHOWN: usize = 200;

/// Which members the probe may leave out or replace: those that are sent and that the user did not choose.
#[derive(Clone, Copy, Debug)]
struct Free {
    usage: bool,
    length: bool,
}

/// Sends the probe of a run as `plan` wants it, again where the server leads elsewhere or refuses a member of the body. Returns how the
/// server wants to be asked.
///
/// # Errors
/// When the server does not answer it well, which ends the run here, and when somebody asked for the end meanwhile.
pub fn settle(
    plan: &RunPlan,
    last: &Prompt,
    shared: &mut Preparation,
    control: &Control,
    clock: SystemClock,
    listener: &Arc<dyn Listener>,
) -> Result<Settled> {
    // Each sending may be of another plan.
    let plan = &mut plan.clone();
    let free = Free::of(plan, last);
    let asked = Wording::of(&plan.endpoint);
    let mut refusal: Option<Refusal> = None;
    let mut others = VecDeque::new();
    let mut hops = 0;
    loop {
        let (job, Probed { finished, location }) = send(plan, last, shared, control, clock, listener)?;
        let refused = match &finished.record.outcome {
            Outcome::CutOff => return Err(Interrupted.into()),
            // An answer of no length is an answer; what is neither is none.
            Outcome::Failed(failure) if failure.class == FailureClass::Empty => {
                is_an_answer(plan, &finished)?;
                break;
            }
            Outcome::Failed(failure) => Refusal::new(failure, &finished),
            Outcome::Ok | Outcome::Cancelled => {
                shared.delayed_acks = delayed_acks(&job, &finished.record)?;
                break;
            }
        };
        if let (Some(location), Some(status)) = (location, finished.record.status) {
            hops += 1;
            if hops > redirect::MOST {
                bail!(
                    "{}{} redirects more than {} times",
                    plan.endpoint.target,
                    plan.endpoint.shown_path(),
                    redirect::MOST
                );
            }
            move_to(plan, shared, status, &location, listener)?;
            continue;
        }
        if refusal.is_none() {
            others = variants(asked, free, &refused).into();
            refusal = Some(refused);
        } else if !refused.is_about_the_body() {
            // What is refused now is something else, which says more than the first refusal.
            refusal = Some(refused);
            others.clear();
        }
        match others.pop_front() {
            Some(wording) => wording.apply(&mut plan.endpoint),
            None => {
                asked.apply(&mut plan.endpoint);
                let Some(refusal) = refusal else { return Ok(Settled::of(&plan.endpoint)) };
                return Err(failed(plan, &refusal, shared));
            }
        }
    }
    if control.is_interrupted() {
        return Err(Interrupted.into());
    }
    if let Some(refusal) = refusal {
        tell(asked, Wording::of(&plan.endpoint), &hints::words(&refusal.failure), listener);
    }
    Ok(Settled::of(&plan.endpoint))
}

impl Free {
    fn of(plan: &RunPlan, prompt: &Prompt) -> Free {
        let endpoint = &plan.endpoint;
        let added = |name: &str| endpoint.extra.contains_key(name);
        let lengths = [LengthField::MaxTokens, LengthField::MaxCompletionTokens].map(LengthField::name);
        let servers_differ = spec(endpoint.kind).capabilities.output_length == OutputLength::MemberOfEitherName;
        Free {
            usage: endpoint.ask_usage && !endpoint.continuous_usage && !added("stream_options"),
            length: servers_differ
                && !plan.asked.is_chosen(Setting::MaxTokensField)
                && prompt.requested_output_tokens.is_some()
                && !lengths.into_iter().any(added),
        }
    }
}

/// One sending of the probe. Its answer is kept as it came, so that it can be shown where it makes no sense.
fn send(
    plan: &RunPlan,
    prompt: &Prompt,
    shared: &Preparation,
    control: &Control,
    clock: SystemClock,
    listener: &Arc<dyn Listener>,
) -> Result<(Arc<Job>, Probed)> {
    let mut plan = plan.clone();
    plan.output.export = ExportLevel::Raw;
    let (endpoint, timeouts) = (plan.endpoint.clone(), plan.transport.timeouts);
    let job = job(Arc::new(plan), [prompt], shared, clock, |_, _| {})?;
    let probed = probe(job.clone(), control, |waiting| listener.note(&waits(&endpoint, &timeouts, waiting)))?;
    Ok((job, probed))
}

/// What a probe waits for, in words.
fn waits(endpoint: &Endpoint, timeouts: &Timeouts, waiting: Waiting) -> Message {
    let Waiting { since, connected } = waiting;
    let (what, limit, setting) = match connected {
        false => ("a connection for the test request", timeouts.connect, Setting::ConnectTimeout),
        true if endpoint.streaming => {
            ("the first output of the test request", timeouts.first_byte, Setting::FirstByteTimeout)
        }
        true => ("the answer to the test request", timeouts.first_byte, Setting::FirstByteTimeout),
    };
    message![
        format!(
            "waiting for {what} to {}{} ({} s so far; a server that stays silent is given up after {} s, ",
            hints::server(endpoint),
            endpoint.shown_path(),
            since.as_secs_f64(),
            limit.as_secs_f64(),
        ),
        setting,
        "); Ctrl-C ends it, ",
        Setting::NoProbe,
        " skips it",
    ]
}

/// A test request that failed.
#[derive(Clone, Debug)]
struct Refusal {
    failure: Failure,
    /// HTTP's status, if there was an answer.
    status: Option<u16>,
    /// What the server itself said of the error: the body of the answer, or the message of an error inside an answer.
    said: Vec<u8>,
}

impl Refusal {
    fn new(failure: &Failure, finished: &Finished) -> Refusal {
        let said = match failure.class {
            FailureClass::Status => {
                finished.received.raw.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
            }
            FailureClass::InBand => failure.message.clone().into_bytes(),
            _ => Vec::new(),
        };
        Refusal { failure: failure.clone(), status: finished.record.status, said }
    }

    /// Whether the server named this member of the body.
    fn names(&self, member: &str) -> bool {
        names_field(&self.said, member)
    }

    /// Whether the server refused the request for what is in it, so that another body may be taken: a status for that (400 and
    /// 422), or any other error that names a member which servers differ in.
    fn is_about_the_body(&self) -> bool {
        match self.failure.class {
            FailureClass::Status if matches!(self.status, Some(400 | 422)) => true,
            FailureClass::Status | FailureClass::InBand => {
                ["stream_options", "max_tokens", "max_completion_tokens"].iter().any(|member| self.names(member))
            }
            _ => false,
        }
    }
}

/// The other wordings to try after a refusal, in their order: without `stream_options`; with the other member for the output
/// length; without the one and with the other. A refusal that names the output length's member has that one replaced first.
fn variants(asked: Wording, free: Free, refusal: &Refusal) -> Vec<Wording> {
    if !refusal.is_about_the_body() {
        return Vec::new();
    }
    let other = match asked.length_field {
        LengthField::MaxTokens => LengthField::MaxCompletionTokens,
        LengthField::MaxCompletionTokens => LengthField::MaxTokens,
    };
    let without_usage = free.usage.then_some(Wording { ask_usage: false, ..asked });
    let other_length = free.length.then_some(Wording { length_field: other, ..asked });
    let both = (free.usage && free.length).then_some(Wording { ask_usage: false, length_field: other });
    let names_length = refusal.names(asked.length_field.name());
    let order = if names_length { [other_length, without_usage, both] } else { [without_usage, other_length, both] };
    order.into_iter().flatten().collect()
}

/// Says what the load leaves out or replaces.
fn tell(asked: Wording, taken: Wording, refusal: &str, listener: &Arc<dyn Listener>) {
    if asked.ask_usage && !taken.ask_usage {
        listener.note(&message![
            format!(
                "note: the server refuses `stream_options` ({refusal}): it is left out, so the server's own token counts may be missing; "
            ),
            Setting::NoUsage,
            " leaves it out from the start",
        ]);
    }
    if asked.length_field != taken.length_field {
        let (asked, taken) = (asked.length_field.name(), taken.length_field.name());
        listener.note(&message![
            format!("note: the server refuses `{asked}` ({refusal}): `{taken}` is sent in its place; "),
            Setting::MaxTokensField,
            format!(" {taken} chooses it from the start"),
        ]);
    }
}

/// Goes where a redirect leads, and has the load go there.
fn move_to(
    plan: &mut RunPlan,
    shared: &mut Preparation,
    status: u16,
    location: &str,
    listener: &Arc<dyn Listener>,
) -> Result<()> {
    let endpoint = &mut plan.endpoint;
    let (target, path) = redirect::follow(endpoint, &endpoint.path, status, location)?;
    if target == endpoint.target && path == endpoint.path {
        bail!("{target}{} answers {status} and redirects to itself", shown_url(&path));
    }
    let has_moved = target != endpoint.target;
    listener.note(&Message::from(format!(
        "note: {}{} answers {status} and redirects to {target}{}: the load goes there",
        endpoint.target,
        endpoint.shown_path(),
        shown_url(&path)
    )));
    (endpoint.target, endpoint.path) = (target, path);
    if has_moved {
        shared.routes = Routes::find(&plan.endpoint, &plan.transport)?;
    }
    Ok(())
}

/// Refuses an answer without output that has none of what ends an answer either: it is of something else.
fn is_an_answer(plan: &RunPlan, finished: &Finished) -> Result<()> {
    let record = &finished.record;
    if record.finish.is_some() || record.usage.is_some() || spec(plan.endpoint.kind).capabilities.describes_models {
        return Ok(());
    }
    let bytes: Vec<u8> =
        finished.received.raw.iter().flat_map(|piece| piece.bytes.iter().copied()).take(4 * SHOWN).collect();
    let text = Secrets::of(&plan.endpoint).hide(String::from_utf8_lossy(&bytes).trim().to_owned());
    let text = clip(text, SHOWN);
    bail!(message![
        format!(
            "the test request to {}{} was answered with status {} and no output: {}; ",
            plan.endpoint.target,
            plan.endpoint.shown_path(),
            record.status.unwrap_or_default(),
            if text.is_empty() { "an empty body" } else { &text },
        ),
        Setting::Endpoint,
        " PATH and ",
        Setting::EndpointType,
        " say where and what is asked (",
        Setting::NoProbe,
        " skips the test request)",
    ])
}

/// The end of a run whose probe failed.
fn failed(plan: &RunPlan, refusal: &Refusal, shared: &Preparation) -> anyhow::Error {
    let (endpoint, Refusal { failure, status, .. }) = (&plan.endpoint, refusal);
    let spoken = hints::may_be_another_protocol(failure).then(|| spoken(&shared.routes)).flatten();
    let hint = hints::hint(&Mishap { failure, status: *status, endpoint, spoken });
    let hint = match (hint, failure.class) {
        (Some(hint), _) => message![": ", hint],
        (None, FailureClass::Status | FailureClass::InBand) => {
            message![" (", Setting::NoProbe, " skips the test request)"]
        }
        (None, _) => Message::default(),
    };
    let server = hints::server(endpoint);
    let failed = format!("the test request to {server}{} failed: {}", endpoint.shown_path(), hints::words(failure));
    message![failed, hint].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::record::Stage;

    const ASKED: Wording = Wording { ask_usage: true, length_field: LengthField::MaxTokens };

    /// A refusal in which the server said `said`.
    fn refused(said: &str, status: Option<u16>, class: FailureClass) -> Refusal {
        let failure = Failure { stage: Stage::Body, class, message: "in words for people".to_owned() };
        Refusal { failure, status, said: said.as_bytes().to_vec() }
    }

    #[test]
    fn variants_are_tried_in_a_fixed_order() {
        use LengthField::{MaxCompletionTokens, MaxTokens};
        let all = Free { usage: true, length: true };
        let tried = |said: &str, status, free| {
            variants(ASKED, free, &refused(said, Some(status), FailureClass::Status))
                .into_iter()
                .map(|wording| (wording.ask_usage, wording.length_field))
                .collect::<Vec<_>>()
        };
        let without_usage = (false, MaxTokens);
        let (other, both) = ((true, MaxCompletionTokens), (false, MaxCompletionTokens));
        assert_eq!(tried("bad request", 400, all), [without_usage, other, both]);
        assert_eq!(tried("max_tokens: extra fields not permitted", 422, all), [other, without_usage, both]);
        assert_eq!(tried("stream_options", 500, all), [without_usage, other, both]);
        assert_eq!(tried("x", 400, Free { usage: false, length: true }), [other]);
        assert_eq!(tried("x", 400, Free { usage: true, length: false }), [without_usage]);
        assert_eq!(tried("x", 400, Free { usage: false, length: false }), []);
        // A server may name the member beside its message, as vLLM does.
        let param = r#"{"error":{"message":"Extra inputs are not permitted","param":"max_tokens","code":400}}"#;
        assert_eq!(tried(param, 400, all), [other, without_usage, both]);
        // Not about what is in the body.
        assert_eq!(tried("oops", 500, all), []);
        assert_eq!(tried("no key", 401, all), []);
        assert_eq!(variants(ASKED, all, &refused("x", None, FailureClass::Refused)), []);
        assert_eq!(variants(ASKED, all, &refused("stream_options?", Some(200), FailureClass::InBand)).len(), 3);
    }
}
