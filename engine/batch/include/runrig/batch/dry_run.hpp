#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runrig/batch/outcome.hpp"
#include "runrig/shm/shape.hpp"

/// What a call would do, without doing it: nothing is written, not even temporary files.
namespace runrig::batch {

struct PlannedDataset {
  std::string file;
  std::string dataset;                 // of what is read, with the selection as it was asked for
  Shape shape;                         // of the selection, or the result
  std::string dtype;                   // NumPy's notation
  std::uint64_t bytes = 0;             // of its elements, decoded
  Shape chunk{};                       // of what is written: no axes if contiguous
  std::vector<std::string> filters{};  // of what is written: "shuffle", "deflate-4"
};

struct PlannedFile {
  std::string file;
  std::uint64_t file_bytes = 0;
  bool up_to_date = false;  // nothing is to be done
  std::string output{};     // empty: results are returned
  std::vector<PlannedDataset> reads{};
  std::vector<PlannedDataset> writes{};
  std::vector<std::string> notes{};  // what could not be kept, in words
};

struct DryRun {
  std::vector<PlannedFile> files;  // by file as asked, without those that failed
  std::vector<Failure> failures;
};

}  // namespace runrig::batch
