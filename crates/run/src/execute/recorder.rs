//! The far end of the records' channel: counts the output's tokens, adds each record to the summary, and writes it to the
//! files, all on a thread of its own.

use crate::execute::books::Books;
use crate::execute::counting::Counting;
use crate::execute::rules::Rules;
use crate::stored::Recorded;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use streamgauge_core::clock::{Clock, Nanos, SystemClock};
use streamgauge_core::record::{Outcome, Phase, Record, RunFacts};
use streamgauge_load::{Batch, Control, Finished};

/// Finished records are on disk after no longer than this, so that a kill loses no more.
const FLUSH: Nanos = Nanos::from_millis(500);

/// How often it is checked whether the run is to end by its figures while no record comes in: as often as load threads hand records
/// over.
const LOOK: Nanos = Nanos::from_millis(100);

/// What ended longer ago than this has come in, also where the recorder is so far behind that there is always more: the
/// channel is bounded, and holds the load up long before it holds so much.
const BEHIND: Nanos = Nanos::from_millis(5_000);

/// Counting is behind if records have been waiting for so long without a pause. It is less than the channel holds, so that load is not held up.
const BACKLOG: Nanos = Nanos::from_millis(250);

/// What turns finished requests into results.
pub struct Recorder<'a> {
    /// Takes the records in.
    pub books: Books<'a>,
    /// Counts output tokens.
    pub counting: Counting,
    /// The run's clock.
    pub clock: SystemClock,
    /// The rules that may end the run by its figures.
    pub rules: Rules,
    /// Ends the run.
    pub control: Control,
    /// What was said so far in the conversations that are open.
    pub histories: Histories,
}

/// Tokens of the turns of open conversations, by phase and number of the conversation.
#[derive(Debug, Default)]
pub struct Histories(HashMap<(Phase, u64), Vec<TurnTokens>>);

/// Tokens of one turn.
#[derive(Debug)]
struct TurnTokens {
    /// Its whole prompt, the history included.
    prompt: u64,
    /// The answer.
    answer: u64,
}

impl Histories {
    /// Adds to the record of a turn what was said before it, which is a part of its prompt. Records of a conversation come in the order of
    /// its turns. `said` is the number of tokens of the answer as later turns repeat it, without reasoning; where it is not counted, the
    /// server's own count stands for it.
    fn complete(&mut self, record: &mut Record, said: Option<u32>) {
        let Some(conversation) = &mut record.conversation else { return };
        let key = (record.phase, conversation.number);
        let mut turns = self.0.remove(&key).unwrap_or_default();
        let parent = conversation.history.parent(conversation.turn).and_then(|parent| turns.get(parent as usize));
        let answer = |turn: &TurnTokens| if conversation.history.recorded_answer { 0 } else { turn.answer };
        let history = parent.map_or(0, |turn| turn.prompt.saturating_add(answer(turn)));
        // Of recorded answers the load knows the tokens.
        let history = *conversation.history_tokens.get_or_insert(history);
        let prompt = u64::from(record.input_tokens) + history;
        record.input_tokens = u32::try_from(prompt).unwrap_or(u32::MAX);
        if conversation.turn + 1 < conversation.turns && record.outcome == Outcome::Ok {
            let of_server = record
                .usage
                .and_then(|usage| Some(usage.completion_tokens?.saturating_sub(usage.reasoning_tokens.unwrap_or(0))));
            let answer = said.map(u64::from).or(of_server).unwrap_or(record.chunks.len() as u64);
            turns.push(TurnTokens { prompt, answer });
            self.0.insert(key, turns);
        }
    }
}

impl Recorder<'_> {
    /// Takes batches until their senders are gone, then closes the books with the run's facts, to which it adds which windows
    /// the figures are of. Those are the facts that stand in every file.
    pub fn run(mut self, batches: Receiver<Batch>, facts: Receiver<RunFacts>) -> (Recorded, RunFacts) {
        let mut flushed = self.clock.now();
        let mut known = flushed;
        let mut caught_up = flushed;
        let wait = if self.rules.any() { LOOK } else { FLUSH };
        loop {
            let asked = self.clock.now();
            let batch = match batches.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Empty) => {
                    known = asked;
                    caught_up = asked;
                    match batches.recv_timeout(wait.to_duration()) {
                        Ok(batch) => batch,
                        Err(RecvTimeoutError::Timeout) => Batch::new(),
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
                Err(TryRecvError::Disconnected) => break,
            };
            let is_behind = asked - caught_up > BACKLOG;
            for mut finished in batch {
                self.count(&mut finished, is_behind);
                let said = self.counting.said(&finished);
                self.histories.complete(&mut finished.record, said);
                self.rules.add(&finished.record);
                let Finished { record, received, listed } = finished;
                self.books.enter(&record, received, listed.as_deref());
            }
            let now = self.clock.now();
            known = known.max(now - BEHIND);
            self.look(known, now);
            if now - flushed >= FLUSH {
                flushed = now;
                self.books.flush();
            }
        }
        // The sender lives until the run is over; without it nothing was run.
        let mut facts = facts.recv().unwrap_or_default();
        facts.window = self.rules.windows(facts.started);
        if let Some(server) = &mut facts.server {
            let window = facts.window.map_or((facts.started, facts.ended), |window| (window.from, window.to));
            server.keep(&[(facts.started, facts.ended), window]);
        }
        (self.books.close(&facts), facts)
    }

    /// Checks whether the run is to end, unless it is ending already.
    fn look(&mut self, known: Nanos, now: Nanos) {
        let Some(started) = self.control.started().filter(|_| !self.control.is_draining()) else { return };
        if let Some(why) = self.rules.look(self.books.so_far(), started, known, now) {
            self.control.satisfy(why);
        }
    }

    fn count(&mut self, finished: &mut Finished, is_behind: bool) {
        if !finished.received.texts.is_empty() && is_counted(&finished.record.outcome, &self.control) {
            self.counting.count(finished, is_behind);
        }
    }
}

/// Whether the output tokens of a request with that outcome are counted. After a second interrupt those of requests that it cut off are
/// not: they are in no figure, and the user does not want to wait.
fn is_counted(outcome: &Outcome, control: &Control) -> bool {
    let is_ended_at_once = control.is_interrupted() && control.is_aborted();
    *outcome != Outcome::CutOff || !is_ended_at_once
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::Usage;
    use streamgauge_core::prompt::{Follows, History};
    use streamgauge_core::record::ConversationTurn;

    #[test]
    fn a_turn_has_what_was_said_before_it_in_its_prompt() {
        let mut histories = Histories::default();
        let mut turn = |number, turn, outcome| {
            let (history, history_tokens) = (History::default(), None);
            let conversation = Some(ConversationTurn { number, turn, turns: 3, history, history_tokens });
            let mut record = Record { conversation, outcome, ..streamgauge_testing::record() };
            record.input_tokens = 10;
            histories.complete(&mut record, Some(4));
            (record.input_tokens, record.conversation.unwrap().history_tokens)
        };
        assert_eq!(turn(0, 0, Outcome::Ok), (10, Some(0)));
        assert_eq!(turn(1, 0, Outcome::Ok), (10, Some(0)));
        assert_eq!(turn(0, 1, Outcome::Ok), (24, Some(14)));
        assert_eq!(turn(0, 2, Outcome::Ok), (38, Some(28)));
        assert_eq!(turn(1, 1, Outcome::CutOff), (24, Some(14)));
        assert!(histories.0.is_empty(), "both conversations are over");
    }

    #[test]
    fn reasoning_is_not_a_part_of_the_history() {
        let mut histories = Histories::default();
        let mut turn = |turn| {
            let (history, history_tokens) = (History::default(), None);
            let conversation = Some(ConversationTurn { number: 0, turn, turns: 2, history, history_tokens });
            let usage = Usage { completion_tokens: Some(520), reasoning_tokens: Some(500), ..Usage::default() };
            let mut record = Record { conversation, outcome: Outcome::Ok, ..streamgauge_testing::record() };
            (record.input_tokens, record.usage) = (10, Some(usage));
            histories.complete(&mut record, None);
            record.input_tokens
        };
        assert_eq!([turn(0), turn(1)], [10, 40]);
    }

    #[test]
    fn the_history_of_a_branch_is_that_of_the_turn_that_it_follows() {
        let mut histories = Histories::default();
        let mut turn = |turn, follows, recorded_answer| {
            let (history, history_tokens) = (History { follows, recorded_answer }, None);
            let conversation = Some(ConversationTurn { number: 0, turn, turns: 4, history, history_tokens });
            let mut record = Record { conversation, outcome: Outcome::Ok, ..streamgauge_testing::record() };
            record.input_tokens = 10;
            histories.complete(&mut record, Some(4));
            (record.input_tokens, record.conversation.unwrap().history_tokens)
        };
        assert_eq!(turn(0, Follows::Previous, false), (10, Some(0)));
        assert_eq!(turn(1, Follows::Nothing, false), (10, Some(0)));
        assert_eq!(turn(2, Follows::Turn(0), true), (20, Some(10)));
        assert_eq!(turn(3, Follows::Previous, false), (34, Some(24)));
    }

    #[test]
    fn tokens_of_cut_off_replies_are_not_counted_after_a_second_interrupt() {
        let control = Control::default();
        assert!(is_counted(&Outcome::CutOff, &control), "cut off by the plan");
        control.interrupt();
        assert!(is_counted(&Outcome::CutOff, &control), "the first interrupt waits for what is in flight");
        control.interrupt();
        assert!(!is_counted(&Outcome::CutOff, &control));
        assert!(is_counted(&Outcome::Ok, &control), "what was answered is in the figures");
        let aborted = Control::default();
        aborted.abort();
        assert!(is_counted(&Outcome::CutOff, &aborted), "a run that ends by itself keeps its counts");
    }
}
