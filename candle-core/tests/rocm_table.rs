//! The document that is made from the table of operations.

/// `UPDATE_DOCS=1` writes it anew.
#[test]
fn docs_operations_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let expected = candle_core::rocm_backend::operations_document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).expect("docs/operations.md can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/operations.md is stale: UPDATE_DOCS=1 cargo test -p candle-core --features rocm --test rocm_table"
    );
}
