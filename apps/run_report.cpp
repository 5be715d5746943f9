#include "run_report.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "version.hpp"

namespace runrig::cli {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string>& arguments() {
  static std::vector<std::string> kept;
  return kept;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json json_of(const batch::FileOutcome& each) {
  Json errors = Json::array();
  for (const batch::Failure& error : each.errors) {
    errors.push_back({{"dataset", text_or_null(error.dataset)}, {"error", error.error}});
  }
  return {{"file", each.file},
          {"status", batch::file_status_name(each.status)},
          {"output", text_or_null(each.output)},
          {"datasets", each.datasets},
          {"input_bytes", each.input_bytes},
          {"output_bytes", each.output_bytes},
          {"array_bytes", each.array_bytes},
          {"seconds", each.seconds},
          {"errors", std::move(errors)},
          {"notes", each.notes}};
}

Json totals_of(const std::vector<batch::FileOutcome>& outcomes) {
  std::array<std::uint64_t, 4> counts{};
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;
  std::uint64_t array_bytes = 0;
  for (const batch::FileOutcome& each : outcomes) {
    ++counts[static_cast<std::size_t>(each.status)];
    if (each.status == batch::FileStatus::skipped) continue;
    if (each.status == batch::FileStatus::done) input_bytes += each.input_bytes;
    output_bytes += each.output_bytes;
    array_bytes += each.array_bytes;
  }
  Json totals{{"files", outcomes.size()}};
  for (const auto status : {batch::FileStatus::done, batch::FileStatus::skipped, batch::FileStatus::failed,
                            batch::FileStatus::interrupted}) {
    totals[std::string(batch::file_status_name(status))] = counts[static_cast<std::size_t>(status)];
  }
  totals["input_bytes"] = input_bytes;
  totals["output_bytes"] = output_bytes;
  totals["array_bytes"] = array_bytes;
  return totals;
}

}  // namespace

void keep_arguments(int argc, char** argv) { arguments().assign(argv + 1, argv + std::max(argc, 1)); }

ReportFile::ReportFile(const std::string& path) : output_(path, true) {
  // Made at once: where none can be made, that is known before the work begins.
  const UniqueFd fd(check_errno(::open(output_.temporary_path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666),
                                "write the report", path));
}

void ReportFile::write(const RunSummary& summary, const std::vector<batch::FileOutcome>& outcomes) {
  std::error_code ignored;
  Json report{{"runrig", RUNRIG_VERSION},
              {"command", summary.command},
              {"arguments", arguments()},
              {"directory", std::filesystem::current_path(ignored).string()},
              {"started", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                                      fmt::gmtime(std::chrono::system_clock::to_time_t(summary.started)))},
              {"seconds", summary.seconds},
              {"workers", summary.workers},
              {"memory_bytes", summary.memory_bytes},
              {"exit_code", summary.exit_code},
              {"error", text_or_null(summary.error)},
              {"totals", totals_of(outcomes)},
              {"files", Json::array()}};
  for (const batch::FileOutcome& each : outcomes) report["files"].push_back(json_of(each));
  // Names of files may be no UTF-8: what is not is replaced.
  const std::string text = report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const UniqueFd fd(check_errno(::open(output_.temporary_path().c_str(), O_WRONLY | O_CLOEXEC), "write the report",
                                output_.final_path()));
  for (std::size_t done = 0; done < text.size();) {
    const auto written =
        check_errno(retry_on_eintr([&] { return ::write(fd.get(), text.data() + done, text.size() - done); }),
                    "write the report", output_.final_path());
    done += static_cast<std::size_t>(written);
  }
  output_.publish();
}

}  // namespace runrig::cli
