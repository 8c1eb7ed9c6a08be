//! The box table of the replaced tools, with a heavy head, a light body, right-aligned cells and a centred title.

/// The maximum width of labels; longer ones are wrapped between words.
const LABEL_WIDTH: usize = 36;

/// A table with one column of labels and several columns of numbers. A column heading may have several lines.
pub(crate) struct Table {
    title: String,
    label_width: usize,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows. The first name of `head` is the heading of the label column.
    pub(crate) fn new(title: impl Into<String>, head: Vec<&'static str>) -> Table {
        Table { title: title.into(), label_width: LABEL_WIDTH, head, rows: Vec::new() }
    }

    /// Sets the width at which labels are wrapped. Call it before rows are added.
    pub(crate) fn with_labels(self, label_width: usize) -> Table {
        Table { label_width, ..self }
    }

    /// The width of the table in terminal columns.
    pub(crate) fn width(&self) -> usize {
        self.widths().iter().map(|width| width + 3).sum::<usize>() + 1
    }

    /// Removes the column with that heading.
    pub(crate) fn leave_out(&mut self, name: &str) {
        let Some(column) = self.head.iter().position(|known| *known == name) else { return };
        self.head.remove(column);
        for row in &mut self.rows {
            if column < row.len() {
                row.remove(column);
            }
        }
    }

    /// Adds a row. Missing cells at the end stay blank.
    pub(crate) fn row(&mut self, label: &str, cells: Vec<String>) {
        let mut lines = wrap(label, self.label_width).into_iter();
        let mut first = vec![lines.next().unwrap_or_default()];
        first.extend(cells);
        self.rows.push(first);
        self.rows.extend(lines.map(|line| vec![line]));
    }

    /// Adds a second line of cells to the last row.
    pub(crate) fn below(&mut self, cells: Vec<String>) {
        self.rows.push([vec![String::new()], cells].concat());
    }

    /// Renders the table. Every line ends with a newline, and no line has trailing blanks.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let margin = self.width().saturating_sub(self.title.chars().count()) / 2;
        let mut text = format!("{:margin$}{}\n", "", self.title);
        text += &rule(&widths, ['┏', '━', '┳', '┓']);
        let lines = self.head.iter().map(|name| name.lines().count()).max().unwrap_or(0);
        for index in 0..lines {
            text += &line(&widths, '┃', |column| self.head[column].lines().nth(index).unwrap_or_default());
        }
        text += &rule(&widths, ['┡', '━', '╇', '┩']);
        for row in &self.rows {
            text += &line(&widths, '│', |column| row.get(column).map_or("", String::as_str));
        }
        text + &rule(&widths, ['└', '─', '┴', '┘'])
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |text| text.chars().count());
        let widest = |column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
        self.head
            .iter()
            .enumerate()
            .map(|(column, name)| widest(column).max(name.lines().map(|line| line.chars().count()).max().unwrap_or(0)))
            .collect()
    }
}

fn rule(widths: &[usize], [left, fill, between, right]: [char; 4]) -> String {
    let spans: Vec<String> = widths.iter().map(|width| fill.to_string().repeat(width + 2)).collect();
    format!("{left}{}{right}\n", spans.join(&between.to_string()))
}

fn line<'a>(widths: &[usize], bar: char, cell: impl Fn(usize) -> &'a str) -> String {
    let cells: Vec<String> =
        widths.iter().enumerate().map(|(column, &width)| format!(" {:>width$} ", cell(column))).collect();
    format!("{bar}{}{bar}\n", cells.join(&bar.to_string()))
}

/// Splits a label into lines of at most `width`, broken between words. A longer word is not split.
fn wrap(label: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_wrap_before_the_unit() {
        let mut table = Table::new("T", vec!["Statistic", "avg"]);
        table.row("Output Token Throughput Per User (tokens/sec/user)", vec!["200.36".into()]);
        let expected = "                      T
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━┓
┃                        Statistic ┃    avg ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━┩
│ Output Token Throughput Per User │ 200.36 │
│                (tokens/sec/user) │        │
└──────────────────────────────────┴────────┘
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_label_of_exactly_the_width_is_not_wrapped() {
        assert_eq!(wrap("Output Token Throughput (tokens/sec)", LABEL_WIDTH).len(), 1);
        assert_eq!(wrap("Output Token Throughput (tokens/sec)", 20), ["Output Token", "Throughput", "(tokens/sec)"]);
        assert_eq!(wrap("", LABEL_WIDTH).len(), 0);
    }

    #[test]
    fn columns_may_be_left_out() {
        let mut table = Table::new("T", vec!["Load", "avg", "p50"]).with_labels(4);
        table.row("of many", vec!["1.00".into(), "22.00".into()]);
        assert_eq!(table.width(), 23);
        table.leave_out("avg");
        table.leave_out("none");
        let expected = "       T
┏━━━━━━┳━━━━━━━┓
┃ Load ┃   p50 ┃
┡━━━━━━╇━━━━━━━┩
│   of │ 22.00 │
│ many │       │
└──────┴───────┘
";
        assert_eq!((table.render().as_str(), table.width()), (expected, 16));
    }

    #[test]
    fn heads_and_rows_may_have_several_lines() {
        let mut table = Table::new("T", vec!["Load", "TTFT\np50"]);
        table.row("4", vec!["12.00".into()]);
        table.below(vec!["±3.50".into()]);
        let expected = "       T
┏━━━━━━┳━━━━━━━┓
┃ Load ┃  TTFT ┃
┃      ┃   p50 ┃
┡━━━━━━╇━━━━━━━┩
│    4 │ 12.00 │
│      │ ±3.50 │
└──────┴───────┘
";
        assert_eq!(table.render(), expected);
    }
}
