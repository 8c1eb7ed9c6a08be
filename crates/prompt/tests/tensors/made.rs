//! Directories of inputs, and inputs that are made up.

use crate::context::{directory, inputs};
use crate::models::{model, optional, spec};
use streamgauge_core::prompt::Payload;
use streamgauge_core::seed::Seed;
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_prompt::{InputData, InputOptions, Made};

#[test]
fn a_directory_has_a_file_for_each_input() {
    let inputs_of = vec![
        spec("X", Datatype::Int16, &[2]),
        spec("T", Datatype::Bytes, &[-1]),
        optional(spec("O", Datatype::Int8, &[1])),
    ];
    let model = model("m", 2, inputs_of, vec![spec("Y", Datatype::Bytes, &[-1])]);
    let options = InputOptions { shapes: vec![("T".to_owned(), vec![2])], batch: 2, ..InputOptions::default() };
    let read = |files: &[(&str, &[u8])], options: &InputOptions| {
        let directory = directory(files);
        let path = format!("{}", directory.path().display());
        InputData::read(&[directory.path().to_owned()], &model, options)
            .map_err(|error| error.to_string().replace(&path, "dir"))
    };
    let (x, t): (&[u8], &[u8]) = (&[1, 0, 2, 0], b"a b\n\xff\n");
    let data = read(&[("X", x), ("T", t), ("Y", b"yes")], &options).unwrap();
    assert!(data.lengths().is_empty());
    let Payload::Tensors { inputs, expected } = &data.streams[0][0].prompt.payload else { panic!("{data:?}") };
    assert_eq!((&inputs[0].shape[..], &inputs[0].data[..]), (&[2, 2][..], &[1, 0, 2, 0, 1, 0, 2, 0][..]));
    assert_eq!(Tensor::strings(&inputs[1].data), Some(vec![&b"a b"[..], b"\xff", b"a b", b"\xff"]));
    assert_eq!((inputs.len(), &expected[0].shape[..]), (2, &[2, 1][..]));
    for (files, words) in [
        (&[("T", t)][..], "dir: there is no file X, and the model m needs this input"),
        (
            &[("X", x), ("T", t), ("x", x)],
            "dir/x: the model m has no input or output of this name; its inputs are X, T, O, its outputs Y",
        ),
        (&[("X", &x[..3]), ("T", t)], "dir/X: 3 bytes are no elements of INT16, which have 2 each"),
        (&[("X", &x[..2]), ("T", t)], "dir/X: 1 elements of INT16 do not fill shape [2], which has 2"),
        (&[("X", x), ("T", b"a\nb\nc")], "dir/T: 3 lines of BYTES do not fill shape [2], which has 2"),
        (&[("X", b""), ("T", t)], "dir/X: the file is empty"),
    ] {
        assert_eq!(read(files, &options).unwrap_err(), words);
    }
    let error = read(&[("X", x), ("T", t)], &InputOptions::default()).unwrap_err();
    assert_eq!(error, "input T has shape [-1]: give --shape T:D");
    let directory = directory(&[("X", x)]);
    let files = [directory.path().to_owned(), directory.path().join("X")];
    let error = InputData::read(&files, &model, &options).unwrap_err().to_string();
    let words = "a directory is all the data of a run, and others are given beside it";
    assert_eq!(error, format!("{}: {words}", directory.path().display()));
}

#[test]
fn values_are_made_up() {
    let all = Datatype::ALL.iter().map(|datatype| spec(datatype.name(), *datatype, &[3])).collect();
    let model = model("m", 0, all, vec![]);
    let made = |kind, options: &InputOptions| InputData::made(kind, &model, options).unwrap();
    let options = InputOptions { string_length: 5, ..InputOptions::default() };
    let random = made(Made::Random, &options);
    assert_eq!(random, made(Made::Random, &options));
    assert_ne!(random, made(Made::Random, &InputOptions { seed: Seed(1), ..options.clone() }));
    assert!(random.lengths().is_empty());
    let tensors = inputs(&random)[0][0];
    for tensor in tensors {
        assert_eq!(tensor.shape, [3], "{}", tensor.name);
        let Some(size) = tensor.datatype.size() else { continue };
        assert_eq!(tensor.data.len(), 3 * size);
        assert!(tensor.data.iter().any(|byte| *byte != 0), "{}", tensor.name);
    }
    let of = |name: &str| &tensors.iter().find(|tensor| tensor.name == name).unwrap().data[..];
    assert!(of("BOOL").iter().all(|byte| *byte < 2));
    assert!(of("FP32").chunks(4).all(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).abs() < 2.0));
    assert!(of("FP64").chunks(8).all(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()).abs() < 2.0));
    assert!(of("FP16").chunks(2).chain(of("BF16").chunks(2)).all(|bytes| bytes[1] & 0x40 == 0));
    assert_eq!(of("UINT64")[..12], of("INT32")[..12], "numbers begin alike");
    let strings = Tensor::strings(of("BYTES")).unwrap();
    assert!(strings.len() == 3 && strings.iter().all(|string| string.len() == 5 && string.is_ascii()));
    assert_ne!(strings[0], strings[1]);

    let zero = made(Made::Zero, &InputOptions { string_data: Some("é".to_owned()), ..options });
    for tensor in inputs(&zero)[0][0] {
        match tensor.datatype {
            Datatype::Bytes => assert_eq!(Tensor::strings(&tensor.data), Some(vec!["é".as_bytes(); 3])),
            _ => assert!(tensor.data.iter().all(|byte| *byte == 0)),
        }
    }
}

#[test]
fn what_cannot_be_made_up_is_refused() {
    let refused = |shape: &[i64], options: &InputOptions| {
        let model = model("m", 8, vec![spec("X", Datatype::Fp32, shape)], vec![]);
        InputData::made(Made::Random, &model, options).unwrap_err().to_string()
    };
    let options = InputOptions::default();
    assert_eq!(refused(&[-1, 4], &options), "input X has shape [-1,4]: give --shape X:D,4");
    let most = "more than the 2147483647 bytes that a request can hold";
    let large = InputOptions { batch: 4, ..options.clone() };
    let words = format!("input X of shape [200000000] in batches of 4 would have {most}");
    assert_eq!(refused(&[200_000_000], &large), words);
    let words = format!("input X of shape [9223372036854775807,3] in batches of 1 would have {most}");
    assert_eq!(refused(&[i64::MAX, 3], &options), words);
}
