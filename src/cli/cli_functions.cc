// The commands about functions: functions, fn.
#include <optional>
#include <tuple>

#include "base/time.h"
#include "cli/internal/arguments.h"

namespace leeward::cli {
namespace {

// What both hosts have.
void add_warmth(CLI::App* sub, std::uint32_t& prepared, Arguments& a) {
  sub->add_option("--prepared", prepared,
                  "Environments kept ready, started and never used, beside those in use, for each "
                  "function that has been used lately")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  sub->add_option("--prepared-for", a.prepared_for,
                  "How long they are kept since the function was last used")
      ->capture_default_str();
  sub->add_option("--keep-idle", a.keep_idle, "How long an environment is kept since its last use")
      ->capture_default_str();
}

// Reads the two durations; an exit status when one is none.
std::optional<int> read_warmth(const Arguments& a, FunctionWarmth& warmth, Io& io) {
  for (auto [text, name, target] :
       {std::tuple{&a.prepared_for, "--prepared-for", &warmth.prepared_for},
        std::tuple{&a.keep_idle, "--keep-idle", &warmth.keep_idle}}) {
    auto duration = parse_duration(*text);
    if (!duration) return report(io, std::move(duration.error()).wrap(name));
    *target = *duration;
  }
  return std::nullopt;
}

void add_fn_serve(CLI::App& group, Arguments& a, const Roles& roles) {
  CLI::App* sub = add(
      group, a, "serve",
      "Serves one HTTP application as a function at an address: nothing of it runs until a request "
      "comes, and nothing is left when it has been idle. As a tier's command it takes the place of "
      "the tier's processes.",
      "  leeward fn serve --listen 10.0.0.2:8080 --directory /srv/shop --connect 127.0.0.1:3307 "
      "--pass SHOP_DATABASE --idle-path /livez -- /usr/bin/python3 /srv/shop/app.py",
      [&a, &roles](Io& io) {
        if (!roles.function_serve)
          return report(io, Error{Code::kInternal, "this executable lacks the role"});
        FunctionServeOptions options = a.serve;
        if (auto wrong = read_warmth(a, options.warmth, io)) return *wrong;
        options.log_level = log_level(a);
        options.log_format = log_format(a);
        return roles.function_serve(options);
      });
  FunctionServeOptions& o = a.serve;
  sub->add_option("--listen", o.listen, "ADDRESS:PORT that requests come to")->required();
  sub->add_option("--directory", o.directory, "What it sees of this host beside /usr, read-only")
      ->capture_default_str();
  sub->add_option("--port", o.port, "The port that the application listens on, inside")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  sub->add_option("--connect", o.connect,
                  "A server that it may connect to, ADDRESS:PORT; INSIDE=OUTSIDE where it knows it "
                  "under another address");
  sub->add_option("--file", o.files, "A file that it may read, for example a secret: copied in");
  CLI::Option* pass =
      sub->add_option("--pass", o.pass, "A variable of this environment that it gets");
  sub->add_option("--idle-path", o.idle_paths,
                  "Answered by 200 without a start while nothing runs: the path of a health check");
  sub->add_option("--name", o.name, "Of its log; default: the directory's");
  CLI::Option* follow = sub->add_option(
      "--follow", o.follow,
      "For agents: a file with the application and the instances that serve in its place, followed "
      "while it changes");
  sub->add_option("--memory", o.memory, "Megabytes of an environment")->capture_default_str();
  sub->add_option("--timeout", o.timeout, "Seconds that a request may take")->capture_default_str();
  sub->add_option("--concurrency", o.concurrency, "Environments at most")->capture_default_str();
  add_warmth(sub, o.warmth.prepared, a);
  sub->add_option("--log-directory", o.log_directory, "Where the application's output goes");
  add_log_options(sub, a);
  CLI::Option* command = sub->add_option("command", o.command, "The application, behind --");
  follow->excludes(command)->excludes(pass);
}

}  // namespace

void add_functions(CLI::App& app, Arguments& a, const Roles& roles) {
  CLI::App* sub =
      add(app, a, "functions",
          "Runs functions on demand, in sandboxes, behind AWS Lambda's API: nothing runs until the "
          "first invocation. awscli and the SDKs speak to it with --endpoint-url.",
          "  leeward functions --listen 127.0.0.1:9001 --state /var/lib/leeward/functions\n"
          "  aws lambda list-functions --endpoint-url http://127.0.0.1:9001",
          [&a, &roles](Io& io) {
            if (!roles.functions)
              return report(io, Error{Code::kInternal, "this executable lacks the role"});
            FunctionsOptions options = a.functions;
            if (auto wrong = read_warmth(a, options.warmth, io)) return *wrong;
            options.log_level = log_level(a);
            options.log_format = log_format(a);
            return roles.functions(options);
          });
  sub->add_option("--listen", a.functions.listen,
                  "Where the API is served; without --access-key on loopback only")
      ->capture_default_str();
  sub->add_option("--state", a.functions.state, "Directory of functions, events and logs")
      ->capture_default_str();
  sub->add_option("--access-key", a.functions.access_keys,
                  "Only requests signed by this key (AWS signature version 4) are answered: "
                  "ID=file:PATH or ID=env:NAME, where the secret is; several are allowed");
  sub->add_option("--connect", a.functions.connect,
                  "A server, ADDRESS:PORT, that a function may ask for by its tag leeward:connect");
  sub->add_option("--node-client", a.functions.node_client,
                  "A folder into which aws-lambda-ric was installed by npm; for nodejs runtimes");
  sub->add_option("--environments", a.functions.environments_max, "At once on this host")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  add_warmth(sub, a.functions.warmth.prepared, a);
  sub->add_option("--concurrency", a.functions.concurrency,
                  "Environments of a function that has no concurrency of its own")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  add_log_options(sub, a);
}

void add_fn(CLI::App& app, Arguments& a, const Roles& roles) {
  CLI::App* group = add(app, a, "fn",
                        "Functions of a host (`leeward functions`): deploy, invoke, list, logs, "
                        "delete; everything else by awscli. And one application at an address: "
                        "serve.",
                        "  leeward fn deploy hello ./hello --runtime python3.11 --handler "
                        "app.handler\n  leeward fn invoke hello --payload '{\"name\": \"you\"}'",
                        nullptr);
  group->require_subcommand(1);
  auto with_address = [&a](CLI::App* sub, bool name) {
    sub->add_option("--address", a.fn.address, "Where the function host listens")
        ->envname("LEEWARD_FUNCTIONS")
        ->capture_default_str();
    if (name)
      sub->add_option("name", a.fn.name, "The function, NAME or NAME:QUALIFIER")->required();
    return sub;
  };
  CLI::App* deploy = with_address(
      add(*group, a, "deploy",
          "Creates a function from a directory or a zip archive, or gives one its new code.",
          "  leeward fn deploy hello ./hello --runtime python3.11 --handler app.handler\n"
          "  leeward fn deploy shop ./shop --runtime http --handler \"python3 app.py\" --env "
          "PORT=8080",
          [&a](Io& io) { return fn_deploy(a.globals, a.fn, io); }),
      true);
  deploy->add_option("code", a.fn.code, "A directory or a zip archive")->required();
  deploy->add_option("--runtime", a.fn.runtime, "python3.N, nodejsN.x, provided or http");
  deploy->add_option("--handler", a.fn.handler,
                     "module.function; for http: the command that starts the application");
  deploy->add_option("--memory", a.fn.memory, "Megabytes");
  deploy->add_option("--timeout", a.fn.timeout, "Seconds");
  deploy->add_option("--env", a.fn.environment, "NAME=VALUE for the function's environment");
  CLI::App* invoke = with_address(
      add(*group, a, "invoke",
          "Invokes a function and prints what it returns. Exits with 4 when the function failed.",
          "  leeward fn invoke hello --payload '{}' --logs\n  leeward fn invoke hello --event",
          [&a](Io& io) { return fn_invoke(a.globals, a.fn, io); }),
      true);
  invoke->add_option("--payload", a.fn.payload, "JSON");
  invoke->add_option("--payload-file", a.fn.payload_file, "A file with JSON")
      ->excludes("--payload");
  invoke->add_flag("--event", a.fn.event, "Do not wait: it is queued, and tried again if it fails");
  invoke->add_flag("--logs", a.fn.logs, "Print the end of its log to standard error");
  with_address(add(*group, a, "list",
                   "Lists functions with what each has used, in GB-seconds, and what runs now.",
                   "  leeward fn list\n  leeward fn list -o json",
                   [&a](Io& io) { return fn_list(a.globals, a.fn, io); }),
               false);
  with_address(
      add(*group, a, "logs", "Prints the end of a function's log.", "  leeward fn logs hello",
          [&a](Io& io) { return fn_logs(a.globals, a.fn, io); }),
      true);
  add_fn_serve(*group, a, roles);
  with_address(add(*group, a, "delete", "Deletes a function.", "  leeward fn delete hello",
                   [&a](Io& io) { return fn_delete(a.globals, a.fn, io); }),
               true);
}

}  // namespace leeward::cli
