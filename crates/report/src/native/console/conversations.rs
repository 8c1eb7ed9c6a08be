//! The block about conversations: how they ended, and the figures of each of their turns.

use crate::text::numbers::{NOT_AVAILABLE, grouped, grouped_count};
use crate::text::put;
use crate::text::table::Table;
use streamgauge_stats::{ConversationFigures, MeanAndMax, Repeats, TurnFigures};

/// Says how often prompts were sent, if any was sent more than once.
pub(super) fn repeats(text: &mut String, repeats: Option<&Repeats>) {
    let Some(Repeats { prompts, least, most }) = repeats.filter(|repeats| repeats.most > 1) else { return };
    let times = match (least, most) {
        (least, most) if least == most => format!("{} times", grouped_count(u64::from(*most))),
        (least, most) => {
            format!("{} to {} times", grouped_count(u64::from(*least)), grouped_count(u64::from(*most)))
        }
    };
    let (count, each) = match prompts {
        1 => ("1 prompt".to_owned(), ""),
        prompts => (format!("{} different prompts", grouped_count(*prompts)), "each "),
    };
    put(text, format_args!("Prompts: {count}, {each}sent {times}\n"));
}

/// Writes how conversations ended, and a table with a row for each turn.
pub(super) fn conversations(text: &mut String, figures: &ConversationFigures, streaming: bool) {
    let ends: Vec<String> = [
        (figures.completed, "completed"),
        (figures.failed, "ended by a failed request"),
        (figures.cut_off, "cut off by the end of the run"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, end)| format!("{} {end}", grouped_count(count)))
    .collect();
    let begun = grouped_count(figures.begun);
    let plural = if figures.begun == 1 { "" } else { "s" };
    put(text, format_args!("\nConversations: {begun} begun conversation{plural}, {}\n", ends.join(", ")));
    if let Some(MeanAndMax { mean, max, .. }) = figures.answered_turns {
        put(text, format_args!("  answered turns: {} on average, {} at most\n", grouped(mean), grouped(max)));
    }
    if let Some(MeanAndMax { mean, max, .. }) = figures.duration {
        put(
            text,
            format_args!(
                "  a completed one took {} ms on average and {} ms at most, times between turns included\n",
                grouped(mean),
                grouped(max)
            ),
        );
    }
    let mut head = vec!["Turn", "requests", "failed", "ISL", "OSL", "latency\navg (ms)", "latency\np99 (ms)"];
    if streaming {
        head.extend(["TTFT\navg (ms)", "TTFT\np99 (ms)"]);
    }
    let mut table = Table::new("By turn of the conversation", head);
    let last = figures.turns.len().saturating_sub(1);
    for (index, turn) in figures.turns.iter().enumerate() {
        let more = if index == last && index + 1 == streamgauge_stats::conversations::MOST_TURNS { "+" } else { "" };
        table.row(&format!("{}{more}", turn.turn.saturating_add(1)), cells(turn, streaming));
    }
    text.push_str(&table.render());
}

fn cells(turn: &TurnFigures, streaming: bool) -> Vec<String> {
    let or_none = |value: Option<f64>| value.map_or(NOT_AVAILABLE.into(), grouped);
    let mean = |value: Option<MeanAndMax>| or_none(value.map(|value| value.mean));
    let requests = turn.ok + turn.failed + turn.unfinished;
    let mut cells = vec![grouped_count(requests), grouped_count(turn.failed)];
    cells.extend([mean(turn.input_tokens), mean(turn.output_tokens)]);
    let latency = turn.request_latency;
    cells.extend([or_none(latency.map(|times| times.avg)), or_none(latency.map(|times| times.p99))]);
    if streaming {
        let ttft = turn.time_to_first_token;
        cells.extend([or_none(ttft.map(|times| times.avg)), or_none(ttft.map(|times| times.p99))]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_stats::conversations::Times;

    #[test]
    fn repeated_prompts_are_reported() {
        let shown = |prompts, least, most| {
            let mut text = String::new();
            repeats(&mut text, Some(&Repeats { prompts, least, most }));
            text
        };
        assert_eq!(shown(100, 1, 1), "");
        assert_eq!(shown(100, 3, 4), "Prompts: 100 different prompts, each sent 3 to 4 times\n");
        assert_eq!(shown(1, 10, 10), "Prompts: 1 prompt, sent 10 times\n");
        let mut text = String::new();
        repeats(&mut text, None);
        assert_eq!(text, "");
    }

    #[test]
    fn each_turn_has_a_row() {
        let mean = |mean: f64| Some(MeanAndMax { count: 2, mean, max: mean * 2.0 });
        let times = |avg: f64| Some(Times { avg, p50: avg, p90: avg, p99: avg + 1.0, max: avg + 1.0 });
        let turn = |turn, failed, input| TurnFigures {
            turn,
            ok: 2,
            failed,
            request_latency: times(80.0),
            time_to_first_token: times(5.5),
            input_tokens: mean(input),
            output_tokens: mean(8.0),
            ..TurnFigures::default()
        };
        let figures = ConversationFigures {
            begun: 3,
            completed: 2,
            failed: 1,
            cut_off: 0,
            answered_turns: mean(1.5),
            duration: mean(170.0),
            turns: vec![turn(0, 0, 20.0), turn(1, 1, 48.0)],
        };
        let mut text = String::new();
        conversations(&mut text, &figures, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "Conversations: 3 begun conversations, 2 completed, 1 ended by a failed request");
        assert_eq!(lines[2], "  answered turns: 1.50 on average, 3.00 at most");
        assert_eq!(
            lines[3],
            "  a completed one took 170.00 ms on average and 340.00 ms at most, times between turns included"
        );
        let rows: Vec<Vec<&str>> = lines
            .iter()
            .filter(|line| line.starts_with('│'))
            .map(|line| line.trim_matches('│').split('│').map(str::trim).collect())
            .collect();
        assert_eq!(rows[0], ["1", "2", "0", "20.00", "8.00", "80.00", "81.00", "5.50", "6.50"]);
        assert_eq!(rows[1], ["2", "3", "1", "48.00", "8.00", "80.00", "81.00", "5.50", "6.50"]);
    }
}
