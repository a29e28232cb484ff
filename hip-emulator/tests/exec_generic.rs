//! Which code objects a card takes: its own target's, its generic target's, no other's.

mod exec_support;

use exec_support::{compile, GENERIC, TARGETS};
use hip_emulator::code_object::{CodeObject, Image};
use hip_emulator::memory::{Limits, Memory};
use hip_emulator::target::Target;

/// Byte of the generic version in an ELF header: the top one of `e_flags`.
const GENERIC_VERSION: usize = 51;

fn load(object: &[u8], card: &str) -> Result<(), String> {
    let memory = Memory::new(Limits {
        device_bytes: 1 << 30,
        poison: false,
    });
    let object = CodeObject::parse(object.to_vec()).map_err(|e| e.to_string())?;
    Image::load(object, &memory, 0, Target::named(card).unwrap())
        .map(drop)
        .map_err(|e| e.to_string())
}

#[test]
fn a_card_takes_its_generic_target_and_no_other() {
    for (_, generic) in GENERIC {
        let object = compile("api", generic);
        let covered: Vec<&str> = match generic {
            "gfx9-generic" => vec!["gfx906"],
            "gfx10-3-generic" => vec!["gfx1030", "gfx1031"],
            "gfx11-generic" => vec!["gfx1100", "gfx1103", "gfx1151"],
            _ => vec!["gfx1200", "gfx1201"],
        };
        for card in TARGETS.iter().chain(GENERIC.iter().map(|(card, _)| card)) {
            match load(&object, card) {
                Ok(()) => assert!(covered.contains(card), "{card} takes {generic}"),
                Err(text) => {
                    assert!(!covered.contains(card), "{text}");
                    assert!(text.contains(generic) && text.contains(card), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_generic_code_object_needs_its_version() {
    let mut object = compile("api", "gfx11-generic");
    assert_eq!(object[GENERIC_VERSION], 1);
    load(&object, "gfx1103").unwrap();
    object[GENERIC_VERSION] = 0;
    let text = load(&object, "gfx1103").unwrap_err();
    assert!(text.contains("generic version 0"), "{text}");
}

#[test]
fn siblings_do_not_share_exact_code_objects() {
    let object = compile("api", "gfx1100");
    load(&object, "gfx1100").unwrap();
    let text = load(&object, "gfx1103").unwrap_err();
    assert!(
        text.contains("gfx1100") && text.contains("gfx1103"),
        "{text}"
    );
}
