//! Files that were made for Perf Analyzer and GenAI-Perf.

use crate::context::{directory, inputs, read, read_with};
use crate::models::{add_one, ensemble, model, open, spec, vllm};
use proptest::prelude::*;
use std::path::PathBuf;
use streamgauge_core::Nanos;
use streamgauge_core::prompt::Payload;
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_prompt::{InputData, InputError, InputOptions, Tokenizer};

/// The first value of the first input of each step of each stream, of one byte each.
fn firsts(data: &InputData) -> Vec<Vec<u8>> {
    inputs(data).iter().map(|steps| steps.iter().map(|inputs| inputs[0].data[0]).collect()).collect()
}

#[test]
fn files_that_perf_analyzer_reads_are_read() {
    let data = read(&[include_str!("golden/pa_in.json")], &ensemble()).unwrap();
    let steps = &data.streams[0];
    assert_eq!((data.streams.len(), steps.len(), data.lengths()), (1, 2, vec![2]));
    assert_eq!(steps[1].prompt.texts().as_ref(), ["Once upon a time there was"]);
    assert_eq!((steps[1].prompt.model.as_str(), steps[1].prompt.requested_output_tokens), ("ensemble", None));
    let tensors = steps[1].prompt.payload.inputs();
    let shown: Vec<_> = tensors.iter().map(|t| (t.name.as_str(), t.datatype, &t.shape[..], &t.data[..])).collect();
    let text = [&[26, 0, 0, 0][..], b"Once upon a time there was"].concat();
    assert_eq!(
        shown,
        [
            ("text_input", Datatype::Bytes, &[1, 1][..], &text[..]),
            ("max_tokens", Datatype::Int32, &[1, 1], &[6, 0, 0, 0]),
            ("stream", Datatype::Bool, &[1, 1], &[1]),
        ]
    );

    let data = read(&[include_str!("golden/prompts.json")], &vllm()).unwrap();
    let tensors = data.streams[0][0].prompt.payload.inputs();
    assert_eq!(Tensor::strings(&tensors[2].data), Some(vec![&br#"{"max_tokens": "8"}"#[..]]));
    assert!(tensors.iter().all(|tensor| tensor.shape == [1]));

    // Those of GenAI-Perf name the model beside the inputs.
    let data = read(&[include_str!("golden/gp-trtllm.json")], &ensemble()).unwrap();
    assert_eq!(data.streams[0].len(), 4);
    assert_eq!(data.streams[0][0].prompt.payload.inputs().len(), 5);
}

#[test]
fn tokens_are_counted_when_asked_for() {
    let mut data = read(&[include_str!("golden/pa_in.json")], &ensemble()).unwrap();
    assert_eq!(data.streams[0][0].prompt.tokens, 0);
    data.count_tokens(&Tokenizer::embedded());
    let tokens: Vec<u32> = data.into_prompts().iter().map(|prompt| prompt.tokens).collect();
    assert_eq!(tokens, [3, 6]);
}

#[test]
fn bodies_for_openai_are_read() {
    let directory = directory(&[
        ("a.json", include_bytes!("golden/oai_in.json")),
        (
            "b.json",
            br#"{"data":[{"payload":{"prompt":["a","b"]},"timestamp":[1500],"delay":[2.5],"session_id":["s"]}]}"#,
        ),
    ]);
    let files = ["a.json", "b.json"].map(|name| directory.path().join(name));
    let data = InputData::read_payloads(&files, "other").unwrap();
    let [a, b] = &data.streams[0][..] else { panic!("{data:?}") };
    assert_eq!((a.prompt.model.as_str(), a.prompt.requested_output_tokens), ("tinychat", Some(8)));
    assert_eq!(a.prompt.texts().as_ref(), ["Who wrote Romeo and Juliet?"]);
    let Payload::Body(body) = &a.prompt.payload else { panic!("{a:?}") };
    let sent = format!(r#"{{"data":[{{"payload":[{body}]}}]}}"#);
    assert_eq!(sent, include_str!("golden/oai_in.json").trim_end());
    assert_eq!((b.prompt.model.as_str(), &b.prompt.texts()[..]), ("other", &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((b.at, b.delay), (Some(Nanos::from_millis(1_500)), Some(Nanos(2_500_000))));
    assert_eq!(b.session.as_deref(), Some("s"));
}

#[test]
fn what_is_no_body_is_refused() {
    for (text, words) in [
        (r#"[{"payload":[]}]"#, "column 22: data[0].payload: 0 bodies are given, and one is accepted"),
        (r#"[{"payload":5}]"#, "column 22: data[0].payload: a number is not a body, which is an object"),
        (r#"[{"model":"m"}]"#, "column 11: data[0]: there is no payload, the body that is sent"),
        (
            r#"[{"payload":{"x":NaN}}]"#,
            "column 22: data[0].payload: the body that begins here has a number that JSON does not have, such as NaN",
        ),
        (
            r#"[{"payload":{},"x":1}]"#,
            "column 29: data[0].x: this is not known; known are payload, timestamp, delay, session_id and model",
        ),
    ] {
        let directory = directory(&[("in.json", format!(r#"{{"data": {text}}}"#).as_bytes())]);
        let file = directory.path().join("in.json");
        let error = InputData::read_payloads(std::slice::from_ref(&file), "m").unwrap_err().to_string();
        assert_eq!(error, format!("{}, line 1, {words}", file.display()));
    }
    let directory = directory(&[("in.json", br#"{"data":[{"payload":{}}],"validation_data":[{}]}"#)]);
    let error = InputData::read_payloads(&[directory.path().join("in.json")], "m").unwrap_err().to_string();
    let words = "column 45: validation_data[0]: the answers of an OpenAI endpoint are not held against any";
    assert!(error.ends_with(words), "{error}");
}

#[test]
fn numbers_that_json_does_not_have_are_read() {
    let model = model("m", 0, vec![spec("F", Datatype::Fp32, &[4]), spec("H", Datatype::Bf16, &[1])], vec![]);
    let data = read(&[r#"{"data":[{"F":[NaN, -Infinity, Inf, 1E-3],"H":[-Inf]}]}"#], &model).unwrap();
    let [floats, half] = inputs(&data)[0][0] else { panic!("{data:?}") };
    let floats: Vec<f32> = floats.data.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert!(floats[0].is_nan());
    assert_eq!((&floats[1..], &half.data[..]), (&[f32::NEG_INFINITY, f32::INFINITY, 0.001][..], &[0x80, 0xff][..]));
}

#[test]
fn steps_make_one_stream_and_lists_one_each() {
    let (a, b) = (r#"{"data":[{"IN":[1]},{"IN":[2]}]}"#, r#"{"data":[{"IN":[3]}]}"#);
    let data = read(&[a, b], &add_one()).unwrap();
    assert_eq!((firsts(&data), data.lengths()), (vec![vec![1, 2, 3]], vec![3]));
    let (a, b) = (r#"{"data":[[{"IN":[1]},{"IN":[2]}],[{"IN":[3]}]]}"#, r#"{"data":[[{"IN":[4]}]]}"#);
    let data = read(&[a, b], &add_one()).unwrap();
    assert_eq!((firsts(&data), data.lengths()), (vec![vec![1, 2], vec![3], vec![4]], vec![2, 1, 1]));
    let prompts = data.into_prompts();
    assert_eq!(prompts.iter().map(|prompt| prompt.payload.inputs()[0].data[0]).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn what_must_come_back_stands_beside_the_inputs() {
    let text =
        r#"{"data":[[{"X":{"content":[1],"shape":[1]}}],[{"X":[[2],[3]]}]],"validation_data":[[{"Y":[7,8]}],[{}]]}"#;
    let error = read(&[text], &open()).unwrap_err();
    assert_eq!(error, "0.json, line 1, column 52: data[1][0].X: shape [2,1] does not fit the model's [-1]");
    let text = text.replace("[[2],[3]]", r#"{"b64":"AgM=","shape":[2]}"#);
    let data = read(&[&text], &open()).unwrap();
    let Payload::Tensors { expected, .. } = &data.streams[0][0].prompt.payload else { panic!("{data:?}") };
    let y = Tensor { name: "Y".into(), datatype: Datatype::Int8, shape: vec![1, 2], data: vec![7, 8] };
    assert_eq!(expected, &[y]);
    let Payload::Tensors { expected, inputs } = &data.streams[1][0].prompt.payload else { panic!("{data:?}") };
    assert_eq!((expected.len(), &inputs[0].shape[..], &inputs[0].data[..]), (0, &[1, 2][..], &[2, 3][..]));
}

#[test]
fn what_is_no_file_of_steps_is_refused() {
    let whole = "a file of inputs is {\"data\": [step, ..]}, or a list of such lists, with validation_data beside it";
    for (text, words) in [
        ("", "column 1: the text ends where a value is expected"),
        ("[]", &format!("column 1: an array is not what is accepted: {whole}")),
        ("{}", &format!("column 1: data is missing: {whole}")),
        (r#"{"data":[],"x":1}"#, &format!("column 16: the member `x` is not known: {whole}")),
        (r#"{"data":{}}"#, "column 9: data: an object is not a list of steps"),
        (r#"{"data":[]}"#, "column 9: data: there is no step in it"),
        (r#"{"data":[[]]}"#, "column 10: data[0]: there is no step in it"),
        (r#"{"data":[5]}"#, "column 10: data[0]: a number is not a step, which is an object of inputs by name"),
        (
            r#"{"data":[{"IN":[1]},[{"IN":[1]}]]}"#,
            "column 21: data[1]: lists and steps are mixed; all steps stand in data itself, or all in lists, one for each stream",
        ),
        (
            r#"{"data":[{"IN":[1]}],"validation_data":[{},{}]}"#,
            "column 40: validation_data has 2 steps where data has 1; each step of data has one",
        ),
        (
            r#"{"data":[[{"IN":[1]}],[{"IN":[1]}]],"validation_data":[[{}]]}"#,
            "column 55: validation_data has 1 steps where data has 1, 1; each step of data has one",
        ),
        (
            r#"{"data":[{"IN":[1]}],"validation_data":[{"NO":[1]}]}"#,
            "column 47: validation_data[0].NO: the model add_one has no such output; it has OUT",
        ),
        (
            r#"{"data":[{"IN":[1]}],"validation_data":[{"OUT":[300]}]}"#,
            "column 49: validation_data[0].OUT: 300 is out of range for UINT8 (0 to 255)",
        ),
        (r#"{"data":[{"IN":[300]}]}"#, "column 17: data[0].IN: 300 is out of range for UINT8 (0 to 255)"),
        (
            r#"{"data":[{"IN":[1,2]}]}"#,
            "column 16: data[0].IN: 2 values (2 bytes of UINT8, 1 each) do not fill shape [1], which has 1",
        ),
        (r#"{"data":[{"in":[1]}]}"#, "column 16: data[0].in: the model add_one has no such input; it has IN"),
        (
            r#"{"data":[{"payload":[{}]}]}"#,
            "column 21: data[0].payload: a payload is a body for an OpenAI endpoint; a model on Triton takes its inputs by name",
        ),
        (r#"{"data":[{}]}"#, "column 10: data[0]: input IN is missing, and the model add_one needs it"),
        (r#"{"data":[{"IN":[1],"model":5}]}"#, "column 28: data[0].model: a number is not the name of a model"),
        (
            r#"{"data":[{"IN":[1],"timestamp":[-1]}]}"#,
            "column 33: data[0].timestamp: this is not a number of milliseconds from 0",
        ),
        (r#"{"data":[{"IN":[1],"delay":[1,2]}]}"#, "column 28: data[0].delay: 2 values are given, and one is accepted"),
        (
            r#"{"data":[{"IN":[1],"session_id":true}]}"#,
            "column 33: data[0].session_id: a truth value is not a session's id, a string or a number",
        ),
    ] {
        assert_eq!(read(&[text], &add_one()).unwrap_err(), format!("0.json, line 1, {words}"), "{text}");
    }
    let lines = "{\"data\": [\n  {\"IN\": [1]},\n  {\"IN\": [1]}\n  {\"IN\": [1]}\n]}";
    assert_eq!(read(&[lines], &add_one()).unwrap_err(), "0.json, line 4, column 3: `,` or `]` is expected");
    let mixed = [r#"{"data":[{"IN":[1]}]}"#, r#"{"data":[[{"IN":[1]}]]}"#];
    let error = read(&mixed, &add_one()).unwrap_err();
    assert!(error.starts_with("1.json, line 1, column 10: data[0]: lists and steps are mixed"), "{error}");
    assert_eq!(read(&[], &add_one()).unwrap_err(), "--input-data: no file is given");
    let open = read(&[r#"{"data":[{"X":[1]}]}"#], &open()).unwrap_err();
    let words = "data[0].X: input X has shape [-1]: give --shape X:D, or the shape beside the content";
    assert_eq!(open, format!("0.json, line 1, column 15: {words}"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = directory(&[("latin.json", b"{\"data\": \"\xe9\"}")]);
    let error = |path: PathBuf| InputData::read(&[path], &add_one(), &InputOptions::default()).unwrap_err();
    let latin = directory.path().join("latin.json");
    let words = "byte 10 is not UTF-8, and a file of inputs is JSON";
    assert_eq!(error(latin.clone()).to_string(), format!("{}: {words}", latin.display()));
    let missing = directory.path().join("missing.json");
    let refused = error(missing.clone());
    assert!(matches!(refused, InputError::Read { .. }));
    assert!(refused.to_string().starts_with(&format!("{}: No such file", missing.display())), "{refused}");
}

#[test]
fn shapes_fill_what_the_model_leaves_open() {
    let shapes = |shapes: &[(&str, &[i64])]| InputOptions {
        shapes: shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect(),
        ..InputOptions::default()
    };
    let text = r#"{"data":[{"X":[1,2]}]}"#;
    let data = read_with(&[text], &open(), &shapes(&[("X", &[2])])).unwrap();
    assert_eq!(inputs(&data)[0][0][0].shape, [1, 2]);
    for (given, words) in [
        (&[("Z", &[1][..])][..], "--shape Z:1: the model open has no input Z; it has X"),
        (&[("X", &[1, 2])], "--shape X:1,2: input X of the model open has shape [-1]"),
        (&[("X", &[1]), ("X", &[2])], "--shape X:2: the shape of X is given twice"),
    ] {
        assert_eq!(read_with(&[text], &open(), &shapes(given)).unwrap_err(), words);
    }
    let fixed = read_with(&[r#"{"data":[{"IN":[1]}]}"#], &add_one(), &shapes(&[("IN", &[2])])).unwrap_err();
    assert_eq!(fixed, "--shape IN:2: input IN of the model add_one has shape [1]");
}

proptest! {
    #[test]
    fn values_come_back(values in prop::collection::vec((any::<i32>(), any::<f32>(), ".{0,9}"), 1..5)) {
        let rows = values.len() as i64;
        let model = model("m", 0, vec![
            spec("I", Datatype::Int32, &[-1]),
            spec("F", Datatype::Fp32, &[-1]),
            spec("T", Datatype::Bytes, &[-1]),
        ], vec![]);
        let shapes = ["I", "F", "T"].map(|name| (name.to_owned(), vec![rows])).to_vec();
        let options = InputOptions { shapes, ..InputOptions::default() };
        // Rust writes infinity as `inf`.
        let floats: Vec<String> = values.iter().map(|(_, float, _)| format!("{float:e}").replace("inf", "Inf")).collect();
        let integers: Vec<i32> = values.iter().map(|(integer, ..)| *integer).collect();
        let texts: Vec<&str> = values.iter().map(|(.., text)| text.as_str()).collect();
        let text = serde_json::to_string(&texts).unwrap();
        let json = format!(r#"{{"data":[{{"I":{integers:?},"F":[{}],"T":{text}}}]}}"#, floats.join(","));
        let data = read_with(&[&json], &model, &options).unwrap();
        let tensors = inputs(&data)[0][0];
        let word = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).unwrap();
        let back: Vec<i32> = tensors[0].data.chunks(4).map(|bytes| i32::from_le_bytes(word(bytes))).collect();
        prop_assert_eq!(back, integers);
        for (bytes, (_, float, _)) in tensors[1].data.chunks(4).zip(&values) {
            let back = f32::from_le_bytes(word(bytes));
            prop_assert!(back == *float || back.is_nan() && float.is_nan());
        }
        let back: Vec<&[u8]> = Tensor::strings(&tensors[2].data).unwrap();
        prop_assert_eq!(back, texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn no_file_makes_it_panic(text in r#"\{"data": ?\[[\[\]{}",:0-9abXcontsh64e .-]{0,60}"#) {
        let _ = read(&[&text], &open());
    }
}
