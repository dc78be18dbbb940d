#include "compute/image_format.h"

#include <signal.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/sha256.h"

namespace leeward::compute {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kTextsMax = 10'000;  // of a list in a configuration
constexpr std::size_t kGroupsMax = 64;
constexpr std::size_t kShownBytes = 100;

Json at(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) ? json[key] : Json();
}

bool sound(const std::string& text) { return text.find('\0') == std::string::npos; }

// A text without NUL; empty when it is none or not there.
std::string text_at(const Json& json, const char* key) {
  Json value = at(json, key);
  if (!value.is_string() || !sound(value.get_ref<const std::string&>())) return "";
  return value.get<std::string>();
}

std::string shown(std::string_view text) { return std::string(text.substr(0, kShownBytes)); }

Result<Json> parse(std::string_view text, const char* what) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(Code::kInvalid, "{} is no JSON object", what);
  return json;
}

Result<std::string> digest_at(const Json& json, const char* what) {
  constexpr std::string_view kPrefix = "sha256:";
  std::string digest = json.is_string() ? json.get<std::string>() : "";
  if (!digest.starts_with(kPrefix) || !is_sha256_hex(digest.substr(kPrefix.size())))
    return fail(Code::kInvalid, "{} has no SHA-256 digest but '{}'", what, shown(digest));
  return digest.substr(kPrefix.size());
}

Result<ImageDescriptor> descriptor(const Json& json, const char* what) {
  ImageDescriptor d;
  d.media_type = text_at(json, "mediaType");
  auto digest = digest_at(at(json, "digest"), what);
  if (!digest) return fail(std::move(digest.error()));
  d.sha256 = std::move(*digest);
  Json size = at(json, "size");
  if (!size.is_number_unsigned()) return fail(Code::kInvalid, "{} has no size", what);
  d.bytes = size.get<std::uint64_t>();
  Json platform = at(json, "platform");
  d.os = text_at(platform, "os");
  d.architecture = text_at(platform, "architecture");
  d.name = text_at(at(json, "annotations"), "org.opencontainers.image.ref.name");
  return d;
}

bool is_layer(std::string_view media_type) {
  constexpr std::string_view kTypes[] = {
      "application/vnd.oci.image.layer.v1.tar",
      "application/vnd.oci.image.layer.v1.tar+gzip",
      "application/vnd.oci.image.layer.v1.tar+zstd",
      "application/vnd.oci.image.layer.nondistributable.v1.tar",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
      "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
      "application/vnd.docker.image.rootfs.diff.tar",
      "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "application/vnd.docker.image.rootfs.diff.tar.zstd"};
  return std::find(std::begin(kTypes), std::end(kTypes), media_type) != std::end(kTypes);
}

bool is_config(std::string_view media_type) {
  return media_type == "application/vnd.oci.image.config.v1+json" ||
         media_type == "application/vnd.docker.container.image.v1+json";
}

Result<std::vector<std::string>> texts(const Json& json, const char* what) {
  std::vector<std::string> all;
  if (json.is_null()) return all;
  if (!json.is_array() || json.size() > kTextsMax)
    return fail(Code::kInvalid, "{} is no list of at most {} texts", what, kTextsMax);
  for (const Json& item : json) {
    if (!item.is_string() || !sound(item.get_ref<const std::string&>()))
      return fail(Code::kInvalid, "{} is no list of texts without NUL", what);
    all.push_back(item.get<std::string>());
  }
  return all;
}

// "SIGQUIT", "QUIT" or "3".
Result<int> signal_number(std::string_view text) {
  if (text.empty()) return 0;
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size() && number > 0 && number < NSIG)
    return number;
  std::string_view bare = text.starts_with("SIG") ? text.substr(3) : text;
  for (number = 1; number < NSIG; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known != nullptr && bare == known) return number;
  }
  return fail(Code::kInvalid, "StopSignal '{}' is no signal", shown(text));
}

std::optional<std::uint32_t> number(std::string_view digits) {
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  // The largest one means "none" to chown(2) and setresuid(2).
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() ||
      value == UINT32_MAX)
    return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// The fields of the line whose name or number is `wanted`; none: there is no such line.
std::vector<std::string_view> line_of(std::string_view file, std::string_view wanted) {
  auto own = number(wanted);
  for (std::string_view line : split(file, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 3) continue;
    auto listed = number(fields[2]);
    if (listed && (own ? *listed == *own : fields[0] == wanted)) return fields;
  }
  return {};
}

}  // namespace

ImageReference parse_image_reference(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.find('/', colon) != std::string_view::npos)
    return {std::string(text), ""};
  return {std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

Status check_layout_version(std::string_view text) {
  auto json = parse(text, "oci-layout");
  if (!json) return fail(std::move(json.error()));
  std::string version = text_at(*json, "imageLayoutVersion");
  if (!version.starts_with("1."))
    return fail(Code::kInvalid, "the layout's version is '{}'; 1.x is read", shown(version));
  return {};
}

Result<std::vector<ImageDescriptor>> parse_image_index(std::string_view text,
                                                       const ImageLimits& limits) {
  auto json = parse(text, "the index");
  if (!json) return fail(std::move(json.error()));
  Json manifests = at(*json, "manifests");
  if (!manifests.is_array() || manifests.size() > limits.manifests_max)
    return fail(Code::kInvalid, "the index has no list of at most {} manifests",
                limits.manifests_max);
  std::vector<ImageDescriptor> all;
  for (const Json& m : manifests) {
    auto one = descriptor(m, "a manifest of the index");
    if (!one) return fail(std::move(one.error()));
    all.push_back(std::move(*one));
  }
  return all;
}

bool is_image_index(std::string_view media_type) {
  return media_type == "application/vnd.oci.image.index.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.list.v2+json";
}

Result<ImageDescriptor> choose_image(const std::vector<ImageDescriptor>& index,
                                     const std::string& name, std::string_view architecture,
                                     bool of_layout) {
  std::vector<const ImageDescriptor*> named;
  std::string names;
  for (const ImageDescriptor& d : index) {
    if (name.empty() || d.name == name) named.push_back(&d);
    if (!d.name.empty() && names.size() < 10 * kShownBytes)
      names += fmt::format(" {}", shown(d.name));
  }
  if (named.empty() && !name.empty())
    return fail(Code::kNotFound, "there is no image '{}' in it; there are:{}", shown(name),
                names.empty() ? " none with a name" : names);
  std::vector<const ImageDescriptor*> fitting;
  std::string platforms;
  for (const ImageDescriptor* d : named) {
    bool unknown = d->os.empty() && d->architecture.empty();
    if (unknown || (d->os == "linux" && d->architecture == architecture))
      fitting.push_back(d);
    else if (platforms.size() < 10 * kShownBytes)
      platforms += fmt::format(" {}/{}", shown(d->os), shown(d->architecture));
  }
  if (fitting.empty())
    return fail(Code::kInvalid, "there is no image for linux/{} in it; there are:{}", architecture,
                platforms.empty() ? " none" : platforms);
  if (of_layout && name.empty() && fitting.size() > 1)
    return fail(Code::kInvalid,
                "there are {} images in it; write which, as PATH:NAME; there are:{}",
                fitting.size(), names.empty() ? " none with a name" : names);
  return *fitting.front();
}

Result<ImageManifest> parse_image_manifest(std::string_view text, const ImageLimits& limits) {
  auto json = parse(text, "the manifest");
  if (!json) return fail(std::move(json.error()));
  if (at(*json, "schemaVersion") != 2)
    return fail(Code::kInvalid, "the manifest is not of schemaVersion 2");
  ImageManifest manifest;
  auto config = descriptor(at(*json, "config"), "the configuration");
  if (!config) return fail(std::move(config.error()));
  manifest.config = std::move(*config);
  if (!is_config(manifest.config.media_type))
    return fail(Code::kInvalid, "it is no image to be run: its configuration is '{}'",
                shown(manifest.config.media_type));
  Json layers = at(*json, "layers");
  if (!layers.is_array() || layers.size() > limits.layers_max)
    return fail(Code::kInvalid, "the manifest has no list of at most {} layers", limits.layers_max);
  for (const Json& l : layers) {
    auto layer = descriptor(l, "a layer");
    if (!layer) return fail(std::move(layer.error()));
    if (!is_layer(layer->media_type))
      return fail(Code::kInvalid, "layers of type '{}' are not read", shown(layer->media_type));
    manifest.layers.push_back(std::move(*layer));
  }
  return manifest;
}

Result<ImageConfig> parse_image_config(std::string_view text, const ImageLimits& limits) {
  auto json = parse(text, "the configuration");
  if (!json) return fail(std::move(json.error()));
  ImageConfig parsed;
  parsed.os = text_at(*json, "os");
  parsed.architecture = text_at(*json, "architecture");
  Json diff_ids = at(at(*json, "rootfs"), "diff_ids");
  if (!diff_ids.is_array() || diff_ids.size() > limits.layers_max)
    return fail(Code::kInvalid, "the configuration has no list of at most {} diff_ids",
                limits.layers_max);
  for (const Json& id : diff_ids) {
    auto digest = digest_at(id, "a diff_id");
    if (!digest) return fail(std::move(digest.error()));
    parsed.diff_ids.push_back(std::move(*digest));
  }
  Json config = at(*json, "config");
  for (auto [key, target] :
       {std::pair{"Entrypoint", &parsed.entrypoint}, std::pair{"Cmd", &parsed.command}}) {
    auto own = texts(at(config, key), key);
    if (!own) return fail(std::move(own.error()));
    *target = std::move(*own);
  }
  auto env = texts(at(config, "Env"), "Env");
  if (!env) return fail(std::move(env.error()));
  for (const std::string& entry : *env) {
    std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(Code::kInvalid, "a variable in Env is not NAME=VALUE");
    parsed.env[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  parsed.directory = text_at(config, "WorkingDir");
  if (!parsed.directory.empty() && parsed.directory[0] != '/')
    return fail(Code::kInvalid, "WorkingDir '{}' is not absolute", shown(parsed.directory));
  parsed.user = text_at(config, "User");
  auto signal = signal_number(text_at(config, "StopSignal"));
  if (!signal) return fail(std::move(signal.error()));
  parsed.stop_signal = *signal;
  return parsed;
}

Result<ImageUser> find_image_user(const std::string& user, std::string_view passwd,
                                  std::string_view group) {
  ImageUser found;
  std::size_t colon = user.find(':');
  const std::string name = user.empty() || colon == 0 ? std::string(1, '0') : user.substr(0, colon);
  auto own = line_of(passwd, name);
  auto uid = own.empty() ? number(name) : number(own[2]);
  if (!uid)
    return fail(Code::kInvalid, "the image's user '{}' is not in its /etc/passwd", shown(name));
  found.uid = *uid;
  if (own.size() > 3) found.gid = number(own[3]).value_or(0);
  if (own.size() > 5 && own[5].starts_with('/')) found.home = std::string(own[5]);
  if (colon != std::string::npos) {
    std::string wanted = user.substr(colon + 1);
    auto line = line_of(group, wanted);
    auto gid = line.empty() ? number(wanted) : number(line[2]);
    if (!gid)
      return fail(Code::kInvalid, "the image's group '{}' is not in its /etc/group", shown(wanted));
    found.gid = *gid;
    return found;  // a group that is given is the only one (config.md, User)
  }
  if (own.empty()) return found;
  for (std::string_view line : split(group, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 4 || found.groups.size() == kGroupsMax) continue;
    auto members = split(fields[3], ',');
    auto gid = number(fields[2]);
    if (gid && std::find(members.begin(), members.end(), own[0]) != members.end())
      found.groups.push_back(*gid);
  }
  return found;
}

std::string_view machine_architecture() {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {{"x86_64", "amd64"},
                                                                             {"aarch64", "arm64"},
                                                                             {"riscv64", "riscv64"},
                                                                             {"ppc64le", "ppc64le"},
                                                                             {"s390x", "s390x"}};
  utsname own{};
  ::uname(&own);
  for (auto [kernel, image] : kNames)
    if (kernel == own.machine) return image;
  return "";
}

}  // namespace leeward::compute
