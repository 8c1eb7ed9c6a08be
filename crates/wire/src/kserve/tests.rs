//! Questions as servers read them.

use super::*;
