//! What would be run to install packages, for each way in which they can be.

use super::{Installer, installation};

#[test]
fn each_installer_has_its_commands() {
    let cases = [
        (
            Installer::Apt,
            "apt-get update",
            "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends a b",
        ),
        (
            Installer::Sudo,
            "sudo -n apt-get update",
            "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends a b",
        ),
        (Installer::Person, "sudo apt-get update", "sudo apt-get install --yes --no-install-recommends a b"),
    ];
    for (installer, update, install) in cases {
        let commands = installation(installer, &["a", "b"]).map(|command| command.to_string());
        assert_eq!(commands, [update, install], "{installer:?}");
    }
}
