#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace runrig::batch {

/// The output of `input` by the template: {stem} (file name without its last extension), {name} (file name), {ext}
/// (extension with its dot), {dir} (the input's directory, "." if none). Throws Error for an unknown or unclosed
/// field. Braces are written {{ and }}.
[[nodiscard]] std::string expand_output(std::string_view pattern, std::string_view input);

/// One output path for each input. Throws Error when two inputs would have one output, or an output is one of
/// `all_inputs` (compared as files, not as texts).
[[nodiscard]] std::vector<std::string> plan_outputs(std::string_view pattern, const std::vector<std::string>& inputs,
                                                    const std::vector<std::string>& all_inputs);

/// A file that is being written: a temporary name in the directory of its final one, which it gets when it is
/// complete. Removed by the destructor unless published.
///
/// The temporary name tells the process that made it (".NAME.runrig-MARK-DOMAIN-N.tmp", see Identity), so that the next
/// run into the directory can remove what a killed one left. Belongs to the process that made it.
class PendingOutput {
 public:
  /// Makes no file yet, but checks that the directory is there and may be written to, and removes dead temporaries
  /// of earlier runs from it. Throws Error, also file_exists if `final_path` exists and may not be replaced.
  PendingOutput(std::string final_path, bool replace);
  PendingOutput(const PendingOutput&) = delete;
  PendingOutput& operator=(const PendingOutput&) = delete;
  ~PendingOutput();

  [[nodiscard]] const std::string& temporary_path() const noexcept { return temporary_path_; }
  [[nodiscard]] const std::string& final_path() const noexcept { return final_path_; }

  /// Syncs the file, gives it its final name, syncs the directory. Without leave to replace, a file that has
  /// appeared under the name meanwhile is an error and stays.
  void publish();
  /// Removes the temporary file, to start again from the beginning.
  void discard() noexcept;

 private:
  std::string final_path_;
  std::string temporary_path_;
  bool replace_;
  bool published_ = false;
};

/// Removes temporaries in `directory` whose makers are dead; returns how many. Failures are ignored: the next run
/// tries again.
int remove_dead_temporaries(const std::string& directory);

}  // namespace runrig::batch
