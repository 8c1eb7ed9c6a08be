//! Questions as servers read them.

use super::*;

fn http(call: Call<'_>) -> (&'static str, String, String) {
    let (method, path, body) = call.http();
    (method, path, String::from_utf8(body.unwrap_or_default()).unwrap())
}

#[test]
fn paths_over_http() {
    let get = |call| {
        let (method, path, body) = http(call);
        assert_eq!((method, &body[..]), ("GET", ""));
        path
    };
    assert_eq!(get(Call::ServerLive), "/v2/health/live");
    assert_eq!(get(Call::ServerReady), "/v2/health/ready");
    assert_eq!(get(Call::ServerMetadata), "/v2");
    assert_eq!(get(Call::ModelReady { model: "m", version: None }), "/v2/models/m/ready");
    assert_eq!(get(Call::ModelMetadata { model: "a/b ü", version: Some("2") }), "/v2/models/a%2Fb%20%C3%BC/versions/2");
    assert_eq!(get(Call::ModelConfig { model: "m", version: Some("2") }), "/v2/models/m/versions/2/config");
    assert_eq!(get(Call::ModelStatistics { model: None, version: None }), "/v2/models/stats");
    assert_eq!(get(Call::ModelStatistics { model: Some("m"), version: None }), "/v2/models/m/stats");
}

#[test]
fn changes_over_http() {
    let post = |call| {
        let (method, path, body) = http(call);
        assert_eq!(method, "POST");
        (path, body)
    };
    let (path, body) = post(Call::RegisterSystemMemory { region: "r", key: "/k", offset: 1, bytes: 2 });
    assert_eq!(path, "/v2/systemsharedmemory/region/r/register");
    assert_eq!(body, r#"{"key":"/k","offset":1,"byte_size":2}"#);
    assert_eq!(post(Call::UnregisterSystemMemory { region: None }).0, "/v2/systemsharedmemory/unregister");
    let (path, _) = post(Call::UnregisterSystemMemory { region: Some("r") });
    assert_eq!(path, "/v2/systemsharedmemory/region/r/unregister");
    let settings = [
        ("trace_level".to_owned(), vec!["OFF".to_owned()]),
        ("trace_rate".to_owned(), vec!["1000".to_owned()]),
        ("trace_count".to_owned(), vec![]),
    ];
    let (path, body) = post(Call::TraceSettings { model: None, settings: &settings });
    assert_eq!(path, "/v2/trace/setting");
    assert_eq!(body, r#"{"trace_level":["OFF"],"trace_rate":"1000","trace_count":null}"#);
    assert_eq!(post(Call::TraceSettings { model: Some("m"), settings: &[] }).0, "/v2/models/m/trace/setting");
    let settings = [("log_info", "true"), ("log_verbose_level", "1"), ("log_file", "x")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (path, body) = post(Call::LogSettings { settings: &settings });
    assert_eq!(path, "/v2/logging");
    assert_eq!(body, r#"{"log_info":true,"log_verbose_level":1,"log_file":"x"}"#);
}

#[test]
fn calls_over_grpc() {
    fn read<M: Message + Default>(call: Call<'_>, name: &str) -> M {
        let (path, message) = call.grpc();
        assert_eq!(path, format!("/inference.GRPCInferenceService/{name}"));
        M::decode(&message[..]).unwrap()
    }
    for (call, name) in
        [(Call::ServerLive, "ServerLive"), (Call::ServerReady, "ServerReady"), (Call::ServerMetadata, "ServerMetadata")]
    {
        assert_eq!(call.grpc(), (&*format!("/inference.GRPCInferenceService/{name}").leak(), Vec::new()));
    }
    let (model, version) = ("m", Some("2"));
    let ready: proto::ModelReadyRequest = read(Call::ModelReady { model, version }, "ModelReady");
    assert_eq!((&ready.name[..], &ready.version[..]), ("m", "2"));
    let metadata: proto::ModelMetadataRequest = read(Call::ModelMetadata { model, version }, "ModelMetadata");
    assert_eq!((&metadata.name[..], &metadata.version[..]), ("m", "2"));
    let config: proto::ModelConfigRequest = read(Call::ModelConfig { model, version: None }, "ModelConfig");
    assert_eq!((&config.name[..], &config.version[..]), ("m", ""));
    let call = Call::ModelStatistics { model: None, version: None };
    assert_eq!(read::<proto::ModelStatisticsRequest>(call, "ModelStatistics").name, "");
    let call = Call::RegisterSystemMemory { region: "r", key: "/k", offset: 1, bytes: 2 };
    let register: proto::SystemSharedMemoryRegisterRequest = read(call, "SystemSharedMemoryRegister");
    assert_eq!((&register.name[..], &register.key[..], register.offset, register.byte_size), ("r", "/k", 1, 2));
    let call = Call::UnregisterSystemMemory { region: Some("r") };
    assert_eq!(read::<proto::SystemSharedMemoryUnregisterRequest>(call, "SystemSharedMemoryUnregister").name, "r");
    let settings = [("trace_rate".to_owned(), vec!["1".to_owned()])];
    let call = Call::TraceSettings { model: Some("m"), settings: &settings };
    let trace: proto::TraceSettingRequest = read(call, "TraceSetting");
    assert_eq!((&trace.model_name[..], &trace.settings["trace_rate"].value[..]), ("m", &settings[0].1[..]));
    let settings = [("a", "false"), ("b", "7"), ("c", "-7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let log: proto::LogSettingsRequest = read(Call::LogSettings { settings: &settings }, "LogSettings");
    let value = |name: &str| log.settings[name].parameter_choice.clone().unwrap();
    assert_eq!(value("a"), ParameterChoice::BoolParam(false));
    assert_eq!(value("b"), ParameterChoice::Uint32Param(7));
    assert_eq!(value("c"), ParameterChoice::StringParam("-7".into()));
}
