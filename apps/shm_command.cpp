#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "common.hpp"
#include "runrig/channel/listener.hpp"
#include "runrig/shm/sweep.hpp"
#include "runrig/sync/error.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

std::string age_text(std::chrono::system_clock::time_point created) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - created).count();
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

std::string json_strings(const std::vector<std::string>& texts) {
  std::string result = "[";
  for (const auto& each : texts) result += (result.size() > 1 ? "," : "") + json_string(each);
  return result + "]";
}

int list(bool json) {
  const auto segments = list_segments();
  if (json) {
    std::string text;
    for (const auto& each : segments) {
      text += fmt::format(
          R"({}{{"name":{},"size_bytes":{},"state":{},"creator":{},"creator_lives":{},"created":{},"users":[{}],"persistent":{}}})",
          text.empty() ? "" : ",", json_string(each.name), each.size_bytes, json_string(to_string(each.state)),
          each.creator, each.creator_lives, std::chrono::duration<double>(each.created.time_since_epoch()).count(),
          fmt::join(each.users, ","), each.persistent);
    }
    fmt::print("{{\"segments\":[{}]}}\n", text);
    return exit_ok;
  }
  if (segments.empty()) {
    fmt::print("no segments\n");
    return exit_ok;
  }
  std::vector<std::vector<std::string>> rows{{"name", "size", "state", "age", "creator", "users"}};
  for (const auto& each : segments) {
    rows.push_back({printable(each.name), size_text(each.size_bytes), std::string(to_string(each.state)),
                    age_text(each.created), std::to_string(each.creator) + (each.creator_lives ? "" : " (dead)"),
                    each.users.empty() ? "-" : fmt::format("{}", fmt::join(each.users, " "))});
  }
  fmt::print("{}", table(rows, {1, 3}));
  return exit_ok;
}

int collect(bool json) {
  const auto report = collect_garbage();
  const int sockets = sweep_listener_folders();
  if (json) {
    fmt::print("{{\"removed\":{},\"removed_bytes\":{},\"kept\":{},\"failed\":{},\"removed_sockets\":{}}}\n",
               json_strings(report.removed), report.removed_bytes, report.kept, json_strings(report.failed), sockets);
  } else {
    for (const auto& name : report.removed) fmt::print("removed {}\n", printable(name));
    fmt::print("{} removed ({}), {} kept\n", report.removed.size(), size_text(report.removed_bytes), report.kept);
    if (sockets != 0) fmt::print("{} sockets of killed listeners removed\n", sockets);
  }
  for (const auto& each : report.failed) fmt::print(stderr, "runrig: {}\n", printable(each));
  return report.failed.empty() ? exit_ok : exit_failed;
}

int remove(const std::vector<std::string>& names, bool json) {
  std::vector<std::string> removed;
  std::vector<batch::Failure> failures;
  for (const auto& name : names) {
    try {
      remove_segment(name);
      removed.push_back(name);
    } catch (const Error& error) {
      failures.push_back({name, "", error.what()});
    }
  }
  if (json) {
    fmt::print("{{\"removed\":{},\"errors\":{}}}\n", json_strings(removed), json_failures(failures));
  }
  for (const auto& each : failures) fmt::print(stderr, "runrig: {}\n", printable(each.error));
  return failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_shm(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("shm", "shared memory segments: list, collect garbage, remove");
  command->require_subcommand(1);
  auto json = std::make_shared<bool>(false);
  auto names = std::make_shared<std::vector<std::string>>();
  auto* ls = command->add_subcommand("ls", "Runrig's segments of this user: size, state, age, users");
  auto* gc = command->add_subcommand("gc", "remove the segments that nobody uses and nobody will");
  auto* rm = command->add_subcommand("rm", "remove segments by name");
  for (auto* each : {ls, gc, rm}) each->add_flag("--json", *json, "print JSON");
  rm->add_option("names", *names, "segment names, as ls shows them")->required()->type_name("NAME");
  command->footer("Example:\n  runrig shm ls");
  ls->callback([json, &exit_code] { exit_code = list(*json); });
  gc->callback([json, &exit_code] { exit_code = collect(*json); });
  rm->callback([json, names, &exit_code] { exit_code = remove(*names, *json); });
}

}  // namespace runrig::cli
