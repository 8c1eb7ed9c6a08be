//! Captures of gRPC answers, which hold messages as text, and the proto file that says what they are.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let set = protox::compile(["kserve_v2.proto"], [folder().join("proto")]).unwrap();
    DescriptorPool::from_file_descriptor_set(set).unwrap()
});

/// The messages of a capture, as they were on the wire, and the status at its end.
pub fn load(name: &str) -> (Vec<Vec<u8>>, String) {
    let text = fs::read_to_string(folder().join("tests/fixtures/grpc").join(name)).unwrap();
    let mut messages = Vec::new();
    for section in text.split("# ").filter(|section| !section.is_empty()) {
        let (head, text) = section.split_once('\n').unwrap();
        if let Some(status) = head.strip_prefix("status ") {
            return (messages, status.to_owned());
        }
        let name = head.split_once(" at ").unwrap().0;
        let descriptor = POOL.get_message_by_name(&format!("inference.{name}")).unwrap();
        messages.push(DynamicMessage::parse_text_format(descriptor, text).unwrap().encode_to_vec());
    }
    panic!("{name} ends without a status");
}

/// The messages behind their prefixes.
pub fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| streamgauge_wire::grpc::framed(message)).collect()
}

#[test]
fn the_messages_are_those_of_the_proto_file() {
    let out = folder().join("src/kserve/proto.rs");
    let made = {
        let folder = std::env::temp_dir().join(format!("streamgauge-proto-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let set = protox::compile(["kserve_v2.proto"], [self::folder().join("proto")]).unwrap();
        let mut config = prost_build::Config::new();
        config.out_dir(&folder).bytes(["."]).btree_map(["."]);
        config.compile_fds(set).unwrap();
        let made = fs::read_to_string(folder.join("inference.rs")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        made
    };
    assert!(
        made == fs::read_to_string(&out).unwrap(),
        "{} is not what the proto file says; this is:\n{made}",
        out.display()
    );
}
