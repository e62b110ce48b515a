//! The protocol page for client authors.

use carillon_schemas::close::CloseCode;

#[test]
fn the_page_names_every_close_code() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/websocket.md");
    let page = std::fs::read_to_string(path).unwrap();
    for code in CloseCode::ALL {
        assert!(page.contains(&format!("| {} |", code.number())), "{code:?}");
    }
}
