use super::refusal;

#[test]
fn addresses_that_no_participant_can_have_are_refused() {
    let own = ["127.0.0.1:7700".parse().expect("an address")];
    for (address, is_refused) in [
        ("127.0.0.1:7101", false),
        ("10.0.0.7:80", false),
        ("[2001:db8::1]:443", false),
        ("127.0.0.1:7700", true),
        ("[::ffff:127.0.0.1]:7700", true),
        ("169.254.169.254:80", true),
        ("169.254.0.1:80", true),
        ("[::ffff:169.254.169.254]:80", true),
        ("[fe80::1]:80", true),
        ("[fd00:ec2::254]:80", true),
        ("100.100.100.200:80", true),
        ("0.0.0.0:7700", true),
        ("[::]:80", true),
        ("224.0.0.1:80", true),
        ("255.255.255.255:80", true),
    ] {
        let parsed = address.parse().expect("an address");
        assert_eq!(refusal(parsed, &own).is_some(), is_refused, "{address}");
    }
}
