"""Grades an edge's TLS; tls_grade.sh says how."""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True
import rig  # noqa: E402
import candidates  # noqa: E402, F401 (the path of edge_rig)
import edge_rig  # noqa: E402

# What caps a grade below A (SSL Labs' Server Rating Guide, 2009q): these must be found as they are named.
MUST = {"SSLv2": "not offered", "SSLv3": "not offered", "TLS1": "not offered", "TLS1_1": "not offered",
        "TLS1_2": "offered", "TLS1_3": "offered with final", "PFS": "offered",
        "cipherlist_NULL": "not offered", "cipherlist_aNULL": "not offered",
        "cipherlist_EXPORT": "not offered", "cipherlist_LOW": "not offered",
        "cipherlist_3DES_IDEA": "not offered", "cipherlist_AVERAGE": "not offered",
        "cert_chain_of_trust": "passed.", "secure_renego": "supported", "OCSP_stapling": "offered"}
FAULTS = ("heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_client_renego", "CRIME_TLS", "POODLE_SSL",
          "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4")
SECTION = """
listeners: [{{ address: 127.0.0.1, port: {port}, tls: true }}]
certificates: [{{ chain: leaf.pem, key: leaf.key, ocsp: leaf.ocsp }}]
origins: {{ web: {{ servers: ["127.0.0.1:{origin}"] }} }}
routes: [{{ origins: web }}]
"""
EXTENSIONS = """subjectAltName=DNS:localhost,DNS:shop.localhost
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
authorityInfoAccess=OCSP;URI:http://127.0.0.1:1/
"""


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def make_certificates(folder):
    """ca.pem, leaf.pem with its chain, leaf.key, and an OCSP response to staple, leaf.ocsp."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(folder, "req", "-x509", *curve, "-days", "90", "-subj", "/CN=grading authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", "-keyout", "ca.key",
            "-out", "ca.pem")
    openssl(folder, "req", *curve, "-subj", "/CN=localhost", "-keyout", "leaf.key", "-out", "leaf.csr")
    (folder / "extensions").write_text(EXTENSIONS)
    openssl(folder, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "90",
            "-set_serial", "0x1f3a5c7e9b2d4f60718293a4b5c6d7e8", "-extfile", "extensions", "-out", "leaf.pem")
    (folder / "index.txt").write_text(
        "V\t490101000000Z\t\t1F3A5C7E9B2D4F60718293A4B5C6D7E8\tunknown\t/CN=localhost\n")
    openssl(folder, "ocsp", "-issuer", "ca.pem", "-cert", "leaf.pem", "-no_nonce", "-reqout", "leaf.ask")
    openssl(folder, "ocsp", "-index", "index.txt", "-rsigner", "ca.pem", "-rkey", "ca.key", "-CA", "ca.pem",
            "-reqin", "leaf.ask", "-respout", "leaf.ocsp", "-ndays", "7")


def grade(found):
    """(grade, score, what caps it). Debian's testssl.sh (3.0) finds and does not grade, so the guide's rules
    are here: protocols 30 %, key exchange 30 %, ciphers 40 %, of the best and the worst each.
    """
    caps = [f"{key}: {found[key]['finding']}" for key, value in MUST.items()
            if found[key]["finding"] != value]
    caps += [f"{key}: {found[key]['finding']}" for key in FAULTS if found[key]["severity"] != "OK"]
    bits = [int(entry["finding"].split()[-2]) for key, entry in found.items() if key.startswith("cipher_x")]
    ciphers = (sum(100 if b >= 256 else 80 if b >= 128 else 20 for b in (max(bits), min(bits)))) / 2
    kind, size, _ = found["cert_keySize"]["finding"].split()
    exchange = 100 if (kind, int(size) >= 384) == ("EC", True) or int(size) >= 4096 else 90
    score = 0.3 * 100 + 0.3 * exchange + 0.4 * ciphers
    if caps or score < 80:
        return "below A", score, caps
    if found.get("HSTS_time", {}).get("severity") == "OK":
        return "A+", score, []
    return "A", score, ["no HSTS"]


def scan(folder, fields, results, log):
    """Findings by name, for an edge whose origin says `fields`."""
    make_certificates(folder)
    origin, port = edge_rig.Origin("page"), rig.free_port()
    origin.handlers["/"] = lambda wire, asked: origin.answer(wire, asked, 200, b"page\n", fields)
    results.unlink(missing_ok=True)
    with edge_rig.Edge(folder, SECTION.format(port=port, origin=origin.port)), open(log, "wb") as text:
        subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1",
                        "--add-ca", str(folder / "ca.pem"), "--jsonfile", str(results), *sys.argv[1:],
                        f"localhost:{port}"], stdout=text, stderr=text, timeout=1800, check=False)
    return {entry["id"]: entry for entry in json.loads(results.read_text())}


def main():
    if not rig.installed("testssl", "testssl.sh"):
        sys.exit(1)
    out = rig.ROOT / "build/bench"
    out.mkdir(parents=True, exist_ok=True)
    worst = 0
    for name, fields in (("plain", []), ("hsts", [("Strict-Transport-Security", "max-age=31536000")])):
        with tempfile.TemporaryDirectory(prefix="leeward-tls-grade.") as folder:
            found = scan(pathlib.Path(folder), fields, out / f"tls_grade_{name}.json",
                         out / f"tls_grade_{name}.log")
        letter, score, caps = grade(found)
        print(f"origin {'with' if fields else 'without'} Strict-Transport-Security: grade {letter}, "
              f"score {score:.0f}" + (f", capped by {'; '.join(caps)}" if caps else ""), flush=True)
        for entry in found.values():
            if entry["severity"] not in ("OK", "INFO", "DEBUG"):
                print(f"  {entry['severity']:8} {entry['id']}: {entry['finding']}")
        worst |= letter == "below A"
    return worst


if __name__ == "__main__":
    sys.exit(main())
