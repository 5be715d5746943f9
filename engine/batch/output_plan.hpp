#pragma once

#include <memory>
#include <string>
#include <vector>

#include "file_ledger.hpp"
#include "output_path.hpp"
#include "output_record.hpp"
#include "state.hpp"

namespace runrig::batch {

/// What a request says of its outputs.
struct OutputWish {
  std::string pattern;               // a file, or a template
  std::vector<std::string> further;  // files that are read for every output, beside its own input
  MapRequest::Existing existing = MapRequest::Existing::refuse;
  bool resume = false;
  std::string request;  // its request_text()
};

/// The outputs of one call, one for each input file: which are to be made, decided before any work, and which need not
/// be made again. Each is bound to the versions of the files that it is made of; if they change while they are being
/// read, there is no output.
class OutputPlan {
 public:
  /// Throws Error for outputs that cannot be or may not be replaced. Removes dead temporaries.
  OutputPlan(const Session::State& state, const std::vector<std::string>& inputs, OutputWish wish);

  /// The inputs whose outputs are to be made.
  [[nodiscard]] const std::vector<std::string>& files() const noexcept { return files_; }
  /// The place of files()[i] among all inputs.
  [[nodiscard]] std::size_t number(std::size_t i) const { return numbers_[i]; }
  [[nodiscard]] PendingOutput& output(std::size_t i) { return *outputs_[i].pending; }
  /// Tells the ledger of those that are up to date.
  void skip_finished(FileLedger& ledger) const;

  /// Before anything is read of files()[i].
  void begin(std::size_t i);
  /// Its elements lie in files that are not known here, whose changes nobody will see: its output is never up to date.
  void unbind(std::size_t i) { outputs_[i].bound = false; }
  /// Removes what is not complete.
  void end(std::size_t i) { outputs_[i].pending.reset(); }

 private:
  struct Output {
    std::unique_ptr<PendingOutput> pending;
    std::optional<std::vector<FileVersion>> versions;  // none: an input is not there
    bool bound = true;
  };
  struct Finished {
    std::size_t number = 0;
    std::string output;
  };

  [[nodiscard]] std::vector<std::string> read_for(const std::string& file) const;
  [[nodiscard]] bool is_finished(const std::string& file, const std::string& path, bool& replace) const;
  [[nodiscard]] std::string seal(const Output& output, const std::string& file, std::uint64_t file_bytes) const;

  OutputWish wish_;
  std::vector<std::string> files_;
  std::vector<std::size_t> numbers_;
  std::vector<Output> outputs_;
  std::vector<Finished> finished_;
};

}  // namespace runrig::batch
