#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common.hpp"
#include "interrupt.hpp"
#include "runrig/engine/log.hpp"
#include "runrig/engine/manager.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::cli {
namespace {

struct ServeOptions {
  std::string address;
  std::string key_file;
  bool allow_md5 = false;
  std::vector<std::string> queues;
  std::vector<std::string> dicts;
};

// All of the file but a newline at its end. Nobody else may read it, for whoever has the key has what is served.
std::vector<std::byte> read_key(const std::string& path) {
  constexpr std::size_t most = 64 << 10;
  const UniqueFd file(check_errno(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), "read the key in", path));
  struct stat status {};
  check_errno(::fstat(file.get(), &status), "read the key in", path);
  if (!S_ISREG(status.st_mode)) throw Error(std::errc::invalid_argument, "read a key from what is no file:", path);
  if ((status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    throw Error(std::errc::permission_denied, "use a key that other users can read (chmod 600 it) in", path);
  }
  std::vector<std::byte> key(most);
  std::size_t filled = 0;
  while (filled < key.size()) {
    const auto got =
        check_errno(retry_on_eintr([&] { return ::read(file.get(), key.data() + filled, key.size() - filled); }),
                    "read the key in", path);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  if (filled == most) throw Error(std::errc::file_too_large, "use a key of 64 KiB or more in", path);
  key.resize(filled);
  if (!key.empty() && key.back() == std::byte{'\n'}) key.pop_back();
  if (key.empty()) throw Error(std::errc::invalid_argument, "use an empty key, which would keep nobody out, in", path);
  return key;
}

// NAME, or NAME:MAXSIZE.
void add_queue(ManagedTypes& types, const std::string& text) {
  const auto colon = text.find(':');
  std::int64_t maxsize = 0;
  if (colon != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stopped, code] = std::from_chars(text.data() + colon + 1, end, maxsize);
    if (code != std::errc() || stopped != end || maxsize < 1) {
      throw UsageError("--queue '" + text + "': what follows the colon is how many messages it holds, from 1");
    }
  }
  types.share(text.substr(0, colon), "Queue", {maxsize});
}

ManagedTypes served(const ServeOptions& options) {
  ManagedTypes types = ManagedTypes::standard();
  for (const auto* names : {&options.queues, &options.dicts}) {
    for (const std::string& text : *names) {
      const std::string name = names == &options.queues ? text.substr(0, text.find(':')) : text;
      if (name.empty()) throw UsageError("what is served has a name");
      if (types.find(name) != nullptr) throw UsageError("'" + name + "' is served already");
      names == &options.queues ? add_queue(types, text) : types.share(name, "dict");
    }
  }
  return types;
}

int serve(const ServeOptions& options) {
  std::optional<Address> address;
  try {
    address = Address::parse(options.address);
  } catch (const Error& error) {
    throw UsageError(std::string("--address: ") + error.what());
  }
  ManagedTypes types = served(options);
  ManagerOptions how;
  how.address = address;
  how.authentication.key = read_key(options.key_file);
  how.authentication.allow_md5 = options.allow_md5;
  ManagerServer server(std::move(types), std::move(how));
  if (address->family() == Address::Family::inet && (address->host().empty() || address->host() == "0.0.0.0")) {
    get_logger().warning(
        "runrig: every machine that reaches this one can connect; what is sent is not encrypted (see "
        "docs/security.md)");
  }
  fmt::print("serving at {}\n", to_string(server.address()));
  std::fflush(stdout);
  std::jthread watcher([&server](const std::stop_token& served) {
    while (interrupt_count() == 0 && !served.stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.stop();
  });
  server.serve_forever();
  return interrupt_count() == 0 ? exit_ok : exit_interrupted;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("serve", "queues and dictionaries for scripts in Python and C++, by name");
  auto options = std::make_shared<ServeOptions>();
  command->add_option("--address", options->address, "where: HOST:PORT, a path with a slash, or @NAME")
      ->required()
      ->type_name("ADDRESS");
  command->add_option("--authkey-file", options->key_file, "the key that clients must have; mode 0600")
      ->required()
      ->type_name("F");
  command->add_flag("--allow-md5", options->allow_md5, "also clients of Python 3.11 and older, which know only MD5");
  command->add_option("--queue", options->queues, "a queue; with :MAXSIZE, of at most so many messages")
      ->type_name("NAME[:MAXSIZE]");
  command->add_option("--dict", options->dicts, "a dictionary")->type_name("NAME");
  command->footer(
      "Example:\n"
      "  runrig serve --address localhost:50000 --authkey-file key --queue tasks --dict results\n"
      "In Python: class M(BaseManager): pass; M.register('tasks');\n"
      "m = M(('localhost', 50000), authkey=key); m.connect(); m.tasks().put(1)");
  command->callback([options, &exit_code] { exit_code = serve(*options); });
}

}  // namespace runrig::cli
