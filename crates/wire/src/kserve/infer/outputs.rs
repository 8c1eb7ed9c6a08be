//! The outputs of a response of either protocol: turns them into events and compares them with what is expected.

use serde_json::{Map, Value};
use std::borrow::Cow;
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_core::{Event, OutputKind};

use crate::kserve::elements;

/// One output of a response.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) name: Cow<'a, str>,
    /// `None` if the type is not known.
    pub(crate) datatype: Option<Datatype>,
    /// The number of elements of its shape, if it is not too large.
    pub(crate) elements: Option<u64>,
    /// As in [`Tensor::data`]. `None` for outputs in shared memory.
    pub(crate) data: Option<Cow<'a, [u8]>>,
}

/// A response that has been read.
pub(crate) trait Response<'a> {
    /// Its outputs, in the order of the response.
    fn outputs(&self) -> impl Iterator<Item = Result<Output<'a>, String>>;
}

/// Why `data` do not hold that number of elements of that type. Returns `None` if they do.
pub(crate) fn misfit(datatype: Datatype, elements: Option<u64>, data: &[u8]) -> Option<String> {
    let Some(elements) = elements else {
        return Some("its shape has a negative dimension, or too many elements".into());
    };
    match datatype.size() {
        Some(size) if elements.checked_mul(size as u64) == Some(data.len() as u64) => None,
        Some(_) => Some(format!("{} bytes for {elements} elements of {datatype}", data.len())),
        None => match Tensor::strings(data) {
            Some(strings) if strings.len() as u64 == elements => None,
            Some(strings) => Some(format!("{} elements of BYTES for {elements}", strings.len())),
            None => Some("elements of BYTES that are not as long as they say".into()),
        },
    }
}

/// Turns outputs into events.
#[derive(Debug, Default)]
pub(crate) struct OutputReader {
    /// The output whose elements are the text.
    pub(crate) text: Option<String>,
    /// What outputs must be, byte for byte.
    pub(crate) expected: Vec<Tensor>,
    /// Whether outputs were requested in shared memory. Servers do not repeat that, so outputs without data are there.
    pub(crate) shared: bool,
}

impl OutputReader {
    /// Reports the outputs of a response: the elements of its text, or that there are tensors. Returns whether there were outputs.
    ///
    /// # Errors
    /// When the data of an output do not fit its shape. The outputs before it have been reported.
    pub(crate) fn report<'a>(
        &self,
        response: &impl Response<'a>,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<bool, String> {
        let mut count = 0_usize;
        let mut texts = 0_usize;
        for output in response.outputs() {
            let output = output?;
            count += 1;
            let (Some(datatype), Some(data)) = (output.datatype, &output.data) else { continue };
            if self.shared && data.is_empty() {
                continue;
            }
            if let Some(reason) = misfit(datatype, output.elements, data) {
                return Err(format!("output {}: {reason}", output.name));
            }
            if datatype == Datatype::Bytes && self.text.as_deref() == Some(&*output.name) {
                texts += report_text(data, on);
            }
        }
        if count > 0 && texts == 0 {
            on(Event::Output { kind: OutputKind::Tensors, choice: 0, text: "" });
        }
        if count > 0 {
            self.compare(response, on)?;
        }
        Ok(count > 0)
    }

    /// Reports the first output that differs from what is expected.
    fn compare<'a>(&self, response: &impl Response<'a>, on: &mut impl FnMut(Event<'_>)) -> Result<(), String> {
        for expected in &self.expected {
            let found = response.outputs().find(|output| output.as_ref().is_ok_and(|o| o.name == expected.name));
            let complaint = match found.transpose()? {
                None => "is missing".to_owned(),
                Some(Output { data: None, .. }) => "lies in shared memory and cannot be compared".to_owned(),
                Some(Output { data: Some(data), .. }) if *data == expected.data[..] => continue,
                Some(Output { data: Some(data), .. }) => difference(expected, &data),
            };
            let message = format!("output {} {complaint}", expected.name);
            on(Event::Error { message: &message });
            return Ok(());
        }
        Ok(())
    }
}

/// Where the data of an output differ from what is expected.
fn difference(expected: &Tensor, data: &[u8]) -> String {
    let at = expected.data.iter().zip(data).take_while(|(a, b)| a == b).count();
    let lengths = match data.len() == expected.data.len() {
        true => String::new(),
        false => format!(" ({} bytes, not {})", data.len(), expected.data.len()),
    };
    format!("is not what the validation data say: they differ from byte {at} on{lengths}")
}

/// Reports the elements of a BYTES output that are not empty, and returns their number. Anything in them that is not UTF-8 is replaced.
fn report_text(data: &[u8], on: &mut impl FnMut(Event<'_>)) -> usize {
    let mut count = 0;
    for (choice, string) in (0_u32..).zip(Tensor::strings(data).into_iter().flatten()) {
        if !string.is_empty() {
            count += 1;
            on(Event::Output { kind: OutputKind::Text, choice, text: &String::from_utf8_lossy(string) });
        }
    }
    count
}

/// The outputs of a response as JSON members: a number, truth value or text, or a list where there are several. Those that lie in
/// shared memory (without data, therefore), and those of unknown types, are empty texts.
pub(crate) fn members<'a>(response: &impl Response<'a>) -> Result<Map<String, Value>, String> {
    let mut members = Map::new();
    for output in response.outputs() {
        let output = output?;
        let data = output.data.filter(|data| !data.is_empty() || output.elements == Some(0));
        let value = output.datatype.zip(data).and_then(|(datatype, data)| elements::values(datatype, &data));
        let value = match value {
            None => Value::from(""),
            Some(mut values) if values.len() == 1 => values.remove(0),
            Some(values) => Value::Array(values),
        };
        members.insert(output.name.into_owned(), value);
    }
    Ok(members)
}
