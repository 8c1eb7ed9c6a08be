//! Steps that become one request.

use crate::context::{inputs, read_with};
use crate::models::{add_one, ensemble, model, open, optional, shape_tensor, spec};
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::prompt::Payload;
use streamgauge_core::tensor::Datatype;
use streamgauge_prompt::{InputData, InputOptions, Made};

#[test]
fn batches_are_consecutive_steps_going_round() {
    let model = model("m", 4, vec![spec("IN", Datatype::Uint8, &[1])], vec![spec("OUT", Datatype::Uint8, &[1])]);
    let batch = |batch| InputOptions { batch, ..InputOptions::default() };
    let text = r#"{"data":[{"IN":[1]},{"IN":[2]},{"IN":[3]}],"validation_data":[{"OUT":[4]},{"OUT":[5]},{"OUT":[6]}]}"#;
    let data = read_with(&[text], &model, &batch(2)).unwrap();
    let values: Vec<_> = inputs(&data)[0].iter().map(|inputs| (&inputs[0].shape[..], &inputs[0].data[..])).collect();
    assert_eq!(values, [(&[2, 1][..], &[1, 2][..]), (&[2, 1], &[3, 1]), (&[2, 1], &[2, 3])]);
    let Payload::Tensors { expected, .. } = &data.streams[0][1].prompt.payload else { panic!("{data:?}") };
    assert_eq!((&expected[0].shape[..], &expected[0].data[..]), (&[2, 1][..], &[6, 4][..]));
    let one = read_with(&[r#"{"data":[{"IN":[1]}]}"#], &model, &batch(3)).unwrap();
    assert_eq!(inputs(&one)[0][0][0].data, [1, 1, 1]);
    let texts = read_with(&[include_str!("golden/pa_in.json")], &ensemble(), &batch(2)).unwrap();
    assert_eq!(texts.streams[0][0].prompt.texts().as_ref(), ["hello big world", "Once upon a time there was"]);
}

#[test]
fn batches_that_cannot_be_are_refused() {
    let batch = |batch| InputOptions { batch, ..InputOptions::default() };
    let text = r#"{"data":[{"IN":[1]}]}"#;
    let refused = |text: &str, model: &ModelInfo, options| read_with(&[text], model, &options).unwrap_err();
    assert_eq!(
        refused(text, &add_one(), batch(2)),
        "-b 2: the model add_one takes no batches, its max_batch_size is 0"
    );
    assert_eq!(refused(text, &open(), batch(9)), "-b 9: the model open takes at most 8 inferences in a request");
    assert_eq!(refused(text, &open(), batch(0)), "-b 0: a request has at least one inference");
    let alike = "only steps that are alike can be joined";
    assert_eq!(
        refused(r#"{"data":[{"X":[[1]]},{"X":{"content":[1,2],"shape":[2]}}]}"#.replace("[[1]]", r#"{"content":[1],"shape":[1]}"#).as_str(), &open(), batch(2)),
        format!("-b 2: steps 0 and 1 of stream 0 differ in the shape of input X ([1] and [2]); {alike}")
    );
    let some = model("some", 8, vec![optional(spec("A", Datatype::Int8, &[1]))], vec![spec("Y", Datatype::Int8, &[1])]);
    assert_eq!(
        refused(r#"{"data":[{"A":[1]},{}]}"#, &some, batch(2)),
        format!("-b 2: step 1 of stream 0 lacks input A, which step 0 has; {alike}")
    );
    assert_eq!(
        refused(r#"{"data":[[{}],[{},{"A":[1]}]]}"#, &some, batch(2)),
        format!("-b 2: step 0 of stream 1 lacks input A, which step 1 has; {alike}")
    );
    assert_eq!(
        refused(r#"{"data":[{},{}],"validation_data":[{"Y":[1]},{}]}"#, &some, batch(2)),
        format!("-b 2: step 1 of stream 0 lacks output Y, which step 0 has; {alike}")
    );
    assert_eq!(
        refused(r#"{"data":[{"timestamp":1}]}"#, &some, batch(2)),
        format!(
            "-b 2: steps of stream 0 have a timestamp, delay or session_id, and a request of several has none of its \
             own; {alike}"
        )
    );
}

#[test]
fn a_tensor_that_gives_a_shape_has_no_batch() {
    let inputs_of = vec![spec("X", Datatype::Int8, &[1]), shape_tensor(spec("S", Datatype::Int32, &[2]))];
    let model = model("m", 8, inputs_of, vec![]);
    let options = InputOptions { batch: 2, ..InputOptions::default() };
    let data = read_with(&[r#"{"data":[{"X":[1],"S":[3,4]}]}"#], &model, &options).unwrap();
    let tensors = inputs(&data)[0][0];
    assert_eq!((&tensors[0].shape[..], &tensors[1].shape[..], tensors[1].data.len()), (&[2, 1][..], &[2][..], 8));
    let differ = r#"{"data":[{"X":[1],"S":[3,4]},{"X":[1],"S":[3,5]}]}"#;
    assert_eq!(
        read_with(&[differ], &model, &options).unwrap_err(),
        "-b 2: steps 0 and 1 of stream 0 differ in the values of input S; only steps that are alike can be joined"
    );
    assert_eq!(
        InputData::made(Made::Zero, &model, &options).unwrap_err().to_string(),
        "input S gives the shape of another input, so its values cannot be made up: give them in --input-data"
    );
}
