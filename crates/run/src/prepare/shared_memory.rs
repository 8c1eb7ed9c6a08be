//! Tensors in memory that the server shares with this machine: POSIX shared memory objects, written once before load and named to the
//! server, which reads inputs from them and writes outputs there.

use crate::error::About;
use crate::prepare::triton::LIMIT;
use anyhow::Result;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use streamgauge_core::clock::SystemClock;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::message;
use streamgauge_core::plan::Endpoint;
use streamgauge_core::prompt::Prompt;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_load::{Client, Routes};
use streamgauge_wire::SharedPlace;
use streamgauge_wire::kserve::Call;

/// Where the system shows its shared memory objects as files.
const OBJECTS: &str = "/dev/shm";

/// Regions that the server knows, until this is dropped.
pub struct Regions {
    objects: Vec<Object>,
    places: Vec<SharedPlace>,
    client: Client,
}

/// A shared memory object, which is gone when this is dropped.
struct Object {
    /// The region's name, and the object's without its slash.
    name: String,
    file: PathBuf,
    bytes: u64,
}

impl Regions {
    /// Regions with the inputs of `prompts`, and room for the outputs of one request, where `endpoint` shares memory; the endpoint then
    /// asks for all of the model's outputs. All requests write their outputs to the same place: they are not looked at.
    ///
    /// # Errors
    /// When the objects cannot be made, or the server does not take them.
    pub fn of<'a>(
        endpoint: &mut Endpoint,
        model: &ModelInfo,
        prompts: impl Iterator<Item = &'a Prompt>,
        routes: &Routes,
    ) -> Result<Option<Regions>> {
        let Some(shared) = endpoint.kserve.shared_memory else { return Ok(None) };
        endpoint.kserve.outputs = model.outputs.iter().map(|output| output.name.clone()).collect();
        let room = shared.output_bytes.saturating_mul(model.outputs.len() as u64).max(1);
        let [inputs, outputs] = ["inputs", "outputs"].map(|part| format!("streamgauge-{}-{part}", std::process::id()));
        let mut objects = Vec::new();
        let mut places = Vec::new();
        let filled = Object::filled(inputs.clone(), |file| {
            let mut offset = 0;
            for prompt in prompts {
                places.push(SharedPlace { inputs: inputs.clone(), offset, outputs: outputs.clone() });
                for tensor in prompt.payload.inputs() {
                    file.write_all(&tensor.data)?;
                    offset += tensor.data.len() as u64;
                }
            }
            Ok(offset)
        });
        objects.push(filled.about(|| in_memory("the inputs cannot be put into shared memory"))?);
        let sized = Object::filled(outputs, |file| file.get_ref().set_len(room).map(|()| room));
        objects.push(sized.about(|| in_memory("there is no room for outputs in shared memory"))?);
        let client = Client::new(endpoint, routes, SystemClock::start(), LIMIT)?;
        let mut regions = Regions { objects, places, client };
        regions.register()?;
        Ok(Some(regions))
    }

    /// Where the tensors of prompt number `index` are.
    pub fn place(&self, index: usize) -> Option<&SharedPlace> {
        self.places.get(index)
    }

    fn register(&mut self) -> Result<()> {
        for Object { name, bytes, .. } in &self.objects {
            let key = format!("/{name}");
            let call = Call::RegisterSystemMemory { region: name, key: &key, offset: 0, bytes: *bytes };
            self.client.ask(&call).map_err(|error| {
                in_memory(&format!("the server does not take it, which must run on this machine: {error}"))
            })?;
        }
        Ok(())
    }
}

/// What is wrong with shared memory.
fn in_memory(what: &str) -> Message {
    message![Setting::SharedMemory, format!(" system: {what}")]
}

impl Drop for Regions {
    fn drop(&mut self) {
        for object in &self.objects {
            // A server that is gone has none.
            let _ = self.client.ask(&Call::UnregisterSystemMemory { region: Some(&object.name) });
        }
    }
}

impl Object {
    /// A new object with what `fill` writes, which says how many bytes it then has.
    fn filled(
        name: String,
        fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<u64>,
    ) -> std::io::Result<Object> {
        let file = PathBuf::from(OBJECTS).join(&name);
        // What a killed process with this number left goes; another user's file or link stays, and is not written to.
        let _ = fs::remove_file(&file);
        let mut out = BufWriter::new(File::create_new(&file)?);
        // From here on it is removed whatever comes.
        let mut object = Object { name, file, bytes: 0 };
        object.bytes = fill(&mut out)?.max(1);
        out.flush()?;
        out.get_ref().set_len(object.bytes)?;
        Ok(object)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}
