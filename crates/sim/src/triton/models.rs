//! The answers of ordinary models. These are pure functions, except for the sums that `sequence_sum` keeps between requests.

use super::problem::Problem;
use super::repository::{Ask, Kind, Model};
use std::cell::RefCell;
use std::collections::HashMap;
use streamgauge_core::tensor::{Datatype, Tensor};

/// The sums of the sequences that are open, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    open: RefCell<HashMap<String, i32>>,
}

/// The outputs for a request that fits the model, all of them and in the model's order.
pub(crate) fn outputs(model: &Model, ask: &Ask, sums: &Sums) -> Result<Vec<Tensor>, Problem> {
    let input = |name: &str| ask.inputs.iter().find(|input| input.name == name);
    match model.kind {
        Kind::AddSub => {
            let (Some(a), Some(b)) = (input("INPUT0"), input("INPUT1")) else { return Ok(Vec::new()) };
            let with = |name: &str, work: fn(f32, f32) -> f32| {
                let pairs = floats(&a.data).zip(floats(&b.data));
                let data = pairs.flat_map(|(a, b)| work(a, b).to_le_bytes()).collect();
                Tensor { name: name.to_owned(), data, ..a.clone() }
            };
            Ok(vec![with("OUTPUT0", |a, b| a + b), with("OUTPUT1", |a, b| a - b)])
        }
        Kind::EchoText => {
            let text = input("text_input").and_then(|input| Tensor::strings(&input.data)?.first().copied());
            let text = text.unwrap_or_default();
            if text == b"fail" {
                return Err(Problem::of_model(500, "asked to fail"));
            }
            let mut data = Vec::new();
            Tensor::push_string(&mut data, &text.to_ascii_uppercase());
            Ok(vec![Tensor { name: "text_output".to_owned(), datatype: Datatype::Bytes, shape: vec![1], data }])
        }
        Kind::Identity => {
            let echoed = |input: &Tensor| Tensor { name: input.name.replacen("INPUT", "OUTPUT", 1), ..input.clone() };
            let mut echoed: Vec<Tensor> = ask.inputs.iter().map(echoed).collect();
            echoed.sort_by_key(|output| model.outputs.iter().position(|spec| spec.name == output.name));
            Ok(echoed)
        }
        Kind::SequenceSum => sum(model, ask, sums),
        Kind::Part => {
            let name = &model.name;
            Err(Problem::new(503, format!("model '{name}' of this simulated server works as a part of ensembles only")))
        }
        Kind::Bls | Kind::Ensemble | Kind::Vllm => Ok(Vec::new()),
    }
}

fn floats(data: &[u8]) -> impl Iterator<Item = f32> {
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// The sum so far of each row; rows are one after another in the same sequence.
fn sum(model: &Model, ask: &Ask, sums: &Sums) -> Result<Vec<Tensor>, Problem> {
    let name = &model.name;
    let Some(sequence) = ask.sequence.as_ref().filter(|sequence| !["", "0"].contains(&sequence.id.as_str())) else {
        return Err(Problem::invalid(format!(
            "inference request to model '{name}' must specify a non-zero or non-empty correlation ID"
        )));
    };
    let mut open = sums.open.borrow_mut();
    let id = &sequence.id;
    if sequence.start {
        open.insert(id.clone(), 0);
    }
    let Some(total) = open.get_mut(id) else {
        return Err(Problem::invalid(format!(
            "inference request for sequence {id} to model '{name}' must specify the START flag on the first request of the sequence"
        )));
    };
    let rows = ask.inputs.first().map_or(&[][..], |input| &input.data);
    let mut data = Vec::new();
    for row in rows.as_chunks::<4>().0 {
        *total = total.wrapping_add(i32::from_le_bytes(*row));
        data.extend_from_slice(&total.to_le_bytes());
    }
    if sequence.end {
        open.remove(id);
    }
    let shape = ask.inputs.first().map(|input| input.shape.clone()).unwrap_or_default();
    Ok(vec![Tensor { name: "OUTPUT".to_owned(), datatype: Datatype::Int32, shape, data }])
}

#[cfg(test)]
mod tests {
    use super::super::repository::{Repository, SequenceAsk};
    use super::*;

    #[test]
    fn a_sequence_has_its_own_sum_until_it_ends() {
        let repository = Repository::new(&[]);
        let model = repository.find("sequence_sum", "").unwrap().0;
        let sums = Sums::default();
        let ask = |id: &str, start, end, value: i32| {
            let input = Tensor {
                name: "INPUT".to_owned(),
                datatype: Datatype::Int32,
                shape: vec![1, 1],
                data: value.to_le_bytes().to_vec(),
            };
            let sequence = SequenceAsk { id: id.to_owned(), start, end };
            let ask = Ask { sequence: Some(sequence), inputs: vec![input], ..Ask::default() };
            let outputs = outputs(model, &ask, &sums);
            outputs.map(|outputs| i32::from_le_bytes(outputs[0].data[..4].try_into().unwrap())).map_err(|p| p.message)
        };
        assert_eq!(ask("1", true, false, 5), Ok(5));
        assert_eq!(ask("2", true, false, 1), Ok(1));
        assert_eq!(ask("1", false, true, 7), Ok(12));
        let refused = ask("1", false, false, 7).unwrap_err();
        assert!(refused.contains("sequence 1 to model 'sequence_sum' must specify the START flag"), "{refused}");
        assert!(ask("0", true, false, 7).unwrap_err().contains("non-zero"));
    }
}
