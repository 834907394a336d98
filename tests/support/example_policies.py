"""Policies that match the device and the update of test_names.py, and policies that do not."""

EXAMPLE = "device.version < update.version && (device.region == 'us-west' || device.pro == true)"

HOLDS = [
    EXAMPLE,
    "major >= 1 && memory >= 256",
    'semver(version, "<", newVersion)',
    "semver ( device.version , '<' , '1.2.3' )",
    "semver('1.0.0','==','1.0.0+b')",
    "major == 1 && minor === 2 && patch == 3",
    "device.version < newVersion && newVersion === update.version",
    "device['try-beta-features']",
    'device [ "try-beta-features" ] == true',
    "device . modem\n.\tname == 'BG95'",
    "device['modem']['sim'].iccid == '8988\\'\"'",
    "modem.sim['iccid'] ^= \"8988'\"",
    "modem.bands >< 8 && modem.bands <> 9",
    "device.device.x == 1",
    "update.notes['a b'] == 1 && update.size > 1e6",
    "device.modem && update.notes && device",
    "device.major == null && device.newVersion === '0.0.1'",
    "modem.name.length == null && modem.sim.iccid.x.y == null && update.x == null",
    "!device.missing && !(device.missing == 1) && !(device.missing != 1)",
    "!device.pro == false && !device.memory != true && !missing === true",
    "(device.pro || 1) == true",
    "true || nothing == 1 && false",
    "!(false && true || false)",
    "id == 'K1' || x == y",
    "-1.5e1 == -15 && '\\u0041\\x42\\u{43}\\n' === 'ABC\\x0a'",
    "'\\ud83d\\ude00' == '\U0001f600'",
    "region =~ '^us-(west|east)$' && region =~ /^US/i && region == /west$/ && /us/ == region && region != /eu/",
    "region $= 'west' && region $!= 'east' && region ^!= 'eu' && region >< 's-w' && region <> 'x'",
    "device['true'] == 5 && true.x == null && device.true == 5",
    "'a/b' =~ /a\\/b/ && 'a/b' =~ /^[a/]+b$/",
    "'1\\\\d' =~ '\\\\\\\\d$' && '15' =~ '^\\\\d+$'",
    "modem.name.constructor == null && device.__class__ == null && device.get == null",
]
HOLDS_NOT = [
    "device.missing =~ 'x'", "device.missing != /x/", "memory =~ /^\\d{4}$/", "modem =~ /./", "region =~ 'West'",
    "region == /WEST/", "device.version >= '1.2'", "major == '1.0.0'", "missing", "device.pro == 2",
    "semver(version, '<', region)", "semver(memory, '<', 1024)", "false || false", "null", "''", "'0'", "'false'", "0",
    "device.try == device.beta",
]  # fmt: skip
