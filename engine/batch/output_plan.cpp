#include "output_plan.hpp"

#include <sys/stat.h>

#include <set>

#include "runrig/sync/error.hpp"

namespace runrig::batch {

OutputPlan::OutputPlan(const Session::State& state, const std::vector<std::string>& inputs, OutputWish wish)
    : wish_(std::move(wish)) {
  state.check_outputs_allowed();
  if (state.options.conventions) wish_.request += " by conventions";
  std::vector<std::string> not_to_be_written = inputs;
  for (const std::string& each : wish_.further) not_to_be_written.push_back(each);
  const auto paths = plan_outputs(wish_.pattern, inputs, not_to_be_written);
  std::set<std::string> directories;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    bool replace = wish_.existing == MapRequest::Existing::overwrite;
    for (const std::string& each : state.options.reserved_files) {
      if (!is_same_file(each, paths[i])) continue;
      throw Error(std::errc::invalid_argument,
                  "write the output of '" + inputs[i] + "' to a file that is in use:", paths[i]);
    }
    directories.insert(directory_of(paths[i]));
    if (wish_.resume && is_finished(inputs[i], paths[i], replace)) {
      finished_.push_back({i, paths[i]});
      continue;
    }
    files_.push_back(inputs[i]);
    numbers_.push_back(i);
    outputs_.push_back({std::make_unique<PendingOutput>(paths[i], replace), std::nullopt});
  }
  if (state.dry_run != nullptr) return;
  for (const std::string& each : directories) remove_dead_temporaries(each);
}

std::vector<std::string> OutputPlan::read_for(const std::string& file) const {
  std::vector<std::string> all{file};
  all.insert(all.end(), wish_.further.begin(), wish_.further.end());
  return all;
}

// Whether the output is there, and made by this request of these files as they are. `replace` becomes true if it was
// made by this request, but of something that has changed since.
bool OutputPlan::is_finished(const std::string& file, const std::string& path, bool& replace) const {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == -1 || S_ISDIR(status.st_mode)) return false;
  const auto found = read_record(path);
  if (!found) {
    if (replace) return false;
    throw Error(std::errc::file_exists,
                "resume with an output that is not, or no longer, as runrig wrote it (--overwrite replaces it)", path);
  }
  std::vector<FileVersion> versions;
  try {
    for (const std::string& each : read_for(file)) versions.push_back(FileVersion::of(each));
  } catch (const Error&) {
    versions.clear();  // it will fail by itself, and the output stay as it is
  }
  const OutputRecord wanted = make_record(wish_.request, versions);
  if (*found == wanted) return true;
  if (found->request != wanted.request && !replace) {
    throw Error(std::errc::file_exists, "resume with an output that another command made (--overwrite replaces it)",
                path);
  }
  replace = true;
  return false;
}

void OutputPlan::skip_finished(FileLedger& ledger) const {
  for (const Finished& each : finished_) ledger.skip(each.number, each.output);
}

void OutputPlan::begin(std::size_t i) {
  Output& output = outputs_[i];
  try {
    std::vector<FileVersion> versions;
    for (const std::string& each : read_for(files_[i])) versions.push_back(FileVersion::before_reading(each));
    output.versions = std::move(versions);
  } catch (const Error&) {
    output.versions.reset();  // reading it says why
  }
  output.pending->seal_with([this, i](std::uint64_t bytes) { return seal(outputs_[i], files_[i], bytes); });
}

std::string OutputPlan::seal(const Output& output, const std::string& file, std::uint64_t file_bytes) const {
  const auto all = read_for(file);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (output.versions && FileVersion::of(all[i]) == (*output.versions)[i]) continue;
    throw FormatError("read", all[i], "it was changed meanwhile");
  }
  OutputRecord record = make_record(wish_.request, *output.versions);
  if (!output.bound) record.inputs = "unknown";
  return record_text(record, file_bytes);
}

}  // namespace runrig::batch
