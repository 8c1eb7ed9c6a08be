//! What the program's own commands call the settings that messages refer to.

use streamgauge_core::setting::Setting;

/// The program's own commands have every setting under its published name.
pub fn native(setting: Setting) -> Option<&'static str> {
    Some(setting.published())
}
