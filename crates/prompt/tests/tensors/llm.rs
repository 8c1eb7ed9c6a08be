//! Inputs of LLM backends, held against files that GenAI-Perf wrote.

use crate::models::{self, ensemble, optional, spec, vllm};
use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;
use streamgauge_core::kserve::{Backend, ModelInfo};
use streamgauge_core::prompt::{Content, Payload};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_prompt::{LlmOptions, llm_inputs};

fn prompt(texts: &[&str], requested_output_tokens: Option<u32>) -> Prompt {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    Prompt {
        content: Content::Texts(texts),
        tokens: 0,
        requested_output_tokens,
        model: String::new(),
        payload: Payload::FromContent,
    }
}

/// The values of a tensor, as they stand in GenAI-Perf's file.
fn values(tensor: &Tensor) -> Value {
    match tensor.datatype {
        Datatype::Bytes => {
            let strings = Tensor::strings(&tensor.data).unwrap();
            strings.into_iter().map(|string| String::from_utf8(string.to_vec()).unwrap()).collect()
        }
        Datatype::Bool => tensor.data.iter().map(|byte| *byte == 1).collect(),
        Datatype::Int32 => tensor.data.chunks(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect(),
        other => panic!("{other}"),
    }
}

/// What would stand in the file for `prompt`: members in their order, as text.
fn entry(model: &ModelInfo, tensors: &[Tensor]) -> String {
    let mut entry = Map::new();
    entry.insert("model".to_owned(), json!(model.name));
    entry.extend(tensors.iter().map(|tensor| (tensor.name.clone(), values(tensor))));
    Value::Object(entry).to_string()
}

fn holds(golden: &str, backend: Backend, model: &ModelInfo, options: &LlmOptions, shape: &[i64]) {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let entries = golden["data"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    for golden in entries {
        let prompt = prompt(&[golden["text_input"][0].as_str().unwrap()], Some(6));
        let made = llm_inputs(backend, model, &prompt, options).unwrap();
        assert_eq!(entry(model, &made.tensors), golden.to_string());
        assert!(made.left_out.is_empty());
        assert!(made.tensors.iter().all(|tensor| tensor.shape == shape));
    }
}

#[test]
fn inputs_are_those_of_genai_perf() {
    let options = LlmOptions { streaming: true, output_exact: true, ..LlmOptions::default() };
    holds(include_str!("golden/gp-trtllm.json"), Backend::TensorrtLlm, &ensemble(), &options, &[1, 1]);
    let options = LlmOptions { streaming: true, ..LlmOptions::default() };
    holds(include_str!("golden/gp-vllm.json"), Backend::Vllm, &vllm(), &options, &[1]);
}

#[test]
fn lengths_are_asked_for_as_each_backend_knows_them() {
    let tensors = |backend, model: &ModelInfo, requested_output_tokens, output_exact| {
        let options = LlmOptions { output_exact, ..LlmOptions::default() };
        entry(model, &llm_inputs(backend, model, &prompt(&["a"], requested_output_tokens), &options).unwrap().tensors)
    };
    assert_eq!(
        tensors(Backend::TensorrtLlm, &ensemble(), None, true),
        r#"{"model":"ensemble","text_input":["a"],"max_tokens":[256],"exclude_input_in_output":[true]}"#
    );
    assert_eq!(
        tensors(Backend::Vllm, &vllm(), None, true),
        r#"{"model":"vllm_model","text_input":["a"],"exclude_input_in_output":[true]}"#
    );
    let exact = json!([r#"{"max_tokens":"7","min_tokens":"7"}"#]);
    let members = r#"{"model":"vllm_model","text_input":["a"],"exclude_input_in_output":[true],"sampling_parameters":"#;
    assert_eq!(tensors(Backend::Vllm, &vllm(), Some(7), true), format!("{members}{exact}}}"));
}

#[test]
fn extras_are_added_or_take_our_place() {
    let mut model = ensemble();
    model.inputs.push(optional(spec("bad_words", Datatype::Bytes, &[-1])));
    model.inputs.push(optional(spec("odd", Datatype::Int32, &[])));
    let extra = json!({"temperature": 0.5, "max_tokens": 9, "bad_words": ["x", "y"], "end_id": 2, "odd": 3});
    let options = LlmOptions { extra: extra.as_object().unwrap().clone(), ..LlmOptions::default() };
    let made = llm_inputs(Backend::TensorrtLlm, &model, &prompt(&["a"], Some(4)), &options).unwrap().tensors;
    let shown: Vec<_> = made.iter().map(|tensor| (tensor.name.as_str(), &tensor.shape[..])).collect();
    assert_eq!(
        shown,
        [
            ("text_input", &[1, 1][..]),
            ("max_tokens", &[1, 1]),
            ("exclude_input_in_output", &[1, 1]),
            ("temperature", &[1, 1]),
            ("bad_words", &[1, 2]),
            ("end_id", &[1, 1]),
            ("odd", &[1]),
        ]
    );
    assert_eq!((values(&made[1]), &made[3].data[..]), (json!([9]), &0.5_f32.to_le_bytes()[..]));
}

#[test]
fn types_and_shapes_are_the_models() {
    let mut model = ensemble();
    model.inputs[0].shape = vec![-1];
    model.inputs[1] = spec("max_tokens", Datatype::Uint32, &[1, 1]);
    let made = llm_inputs(Backend::TensorrtLlm, &model, &prompt(&["a", "bc"], Some(5)), &LlmOptions::default());
    let tensors = made.unwrap().tensors;
    assert_eq!((&tensors[0].shape[..], values(&tensors[0])), (&[2, 1][..], json!(["a", "bc"])));
    assert_eq!((&tensors[1].shape[..], &tensors[1].data[..]), (&[2, 1, 1][..], &[5, 0, 0, 0, 5, 0, 0, 0][..]));
    assert_eq!((&tensors[2].shape[..], values(&tensors[2])), (&[2, 1][..], json!([true, true])));
}

#[test]
fn what_a_model_does_not_have_is_left_out_where_that_changes_nothing() {
    let model = models::model("small", 0, vec![spec("text_input", Datatype::Bytes, &[1])], vec![]);
    let options = LlmOptions { streaming: true, output_exact: true, ..LlmOptions::default() };
    let made = llm_inputs(Backend::TensorrtLlm, &model, &prompt(&["a"], None), &options).unwrap();
    assert_eq!(made.tensors.len(), 1);
    assert_eq!(made.left_out, ["max_tokens", "exclude_input_in_output", "stream"]);
    let mut model = ensemble();
    model.inputs.retain(|spec| spec.name != "min_length");
    let made = llm_inputs(Backend::TensorrtLlm, &model, &prompt(&["a"], Some(3)), &options).unwrap();
    assert_eq!(made.left_out, ["min_length"]);
}

#[test]
fn what_does_not_fit_the_model_is_refused() {
    let text = || spec("text_input", Datatype::Bytes, &[1]);
    let of = |inputs| models::model("m", 0, inputs, vec![]);
    let refused = |backend, model: &ModelInfo, prompt: &Prompt, extra: Value| {
        let options = LlmOptions { extra: extra.as_object().unwrap().clone(), ..LlmOptions::default() };
        llm_inputs(backend, model, prompt, &options).unwrap_err().to_string()
    };
    let (trtllm, vllm) = (Backend::TensorrtLlm, Backend::Vllm);
    let one = prompt(&["a"], Some(4));
    let none = json!({});
    for (backend, model, prompt, extra, words) in [
        (
            trtllm,
            of(vec![spec("A", Datatype::Bytes, &[1]), spec("B", Datatype::Bytes, &[1])]),
            &one,
            &none,
            "the model m has no input text_input, which says what the prompt is; it has A, B",
        ),
        (
            trtllm,
            of(vec![text()]),
            &one,
            &none,
            "the model m has no input max_tokens, which says how long the output is to be; it has text_input",
        ),
        (
            trtllm,
            of(vec![text(), spec("sampling_parameters", Datatype::Bytes, &[1])]),
            &one,
            &none,
            "the model m has no input max_tokens, which says how long the output is to be; it has text_input, sampling_parameters, \
             as --backend vllm sends them",
        ),
        (
            vllm,
            of(vec![text()]),
            &one,
            &none,
            "the model m has no input sampling_parameters, which says how long the output is to be; it has text_input",
        ),
        (
            trtllm,
            of(vec![spec("text_input", Datatype::Int32, &[1])]),
            &one,
            &none,
            "input text_input of the model m: \"a\" is a string, and INT32 wants whole numbers",
        ),
        (
            trtllm,
            of(vec![text(), spec("max_tokens", Datatype::Int32, &[2])]),
            &one,
            &none,
            "input max_tokens of the model m: one value does not fill its shape [2]",
        ),
        (trtllm, of(vec![]), &prompt(&[], None), &none, "-b 0: a request has at least one inference"),
        (
            trtllm,
            of(vec![text()]),
            &prompt(&["a", "b"], None),
            &none,
            "-b 2: the model m takes no batches, its max_batch_size is 0",
        ),
        (
            trtllm,
            of(vec![text(), spec("image", Datatype::Fp32, &[3])]),
            &prompt(&["a"], None),
            &none,
            "the model m needs input image, which requests of this backend do not have: give --extra-inputs image:VALUE",
        ),
        (
            vllm,
            models::vllm(),
            &one,
            &json!({"top_k": 5}),
            "--extra-inputs top_k: the model vllm_model has no such input; it has text_input, stream, sampling_parameters, \
             exclude_input_in_output",
        ),
        (
            vllm,
            models::vllm(),
            &one,
            &json!({"text_input": "b"}),
            "--extra-inputs text_input: this input is the prompt's text, which is counted in tokens",
        ),
        (
            vllm,
            models::vllm(),
            &one,
            &json!({"sampling_parameters": {"top_k": 5}}),
            "input sampling_parameters of the model vllm_model: {\"top_k\":5} is not a value, which is a number, a string \
             or a truth value",
        ),
        (
            trtllm,
            ensemble(),
            &one,
            &json!({"end_id": [1, 2]}),
            "input end_id of the model ensemble: 2 values do not fill its shape [1]",
        ),
        (
            trtllm,
            ensemble(),
            &one,
            &json!({"temperature": "hot"}),
            "input temperature of the model ensemble: \"hot\" is a string, and FP32 wants numbers",
        ),
    ] {
        assert_eq!(refused(backend, &model, prompt, extra.clone()), words);
    }
}
