#pragma once

#include <functional>
#include <string>
#include <vector>

#include "state.hpp"

namespace runrig::batch {

/// Work on one file, as a worker sees it. What is told to the journal is kept if the worker dies.
struct FileTask {
  const char* path = nullptr;
  Journal journal;
  double seconds = 0;  // that workers have spent on it
  int worker = 0;      // the process that had it last
};

/// Files that are looked at together, at most, and what each may tell: address space, of which only what is used takes
/// memory.
inline constexpr std::size_t most_wave_files = 64;
inline constexpr std::size_t file_journal_bytes = std::size_t{32} << 20;

/// Where each step of a file's work is one item (a dataset, say), a worker's death at item i costs that item only: the
/// task goes on behind it in another worker.
inline constexpr int max_deaths_of_a_file = 3;

/// What is known of one file when its task has ended for good.
struct FileResult {
  std::size_t file = 0;                   // index in the files given
  std::vector<pickle::Object> records;    // as the body appended them
  std::vector<std::string> deaths;        // reasons, one for each time a worker died or was killed over this file
  std::vector<std::uint32_t> dead_items;  // the item that each concerns
  std::string failure;                    // the body threw: its text; or there were too many deaths: the last reason
  double seconds = 0;                     // that workers spent on it
  int worker = 0;                         // the process that had it last, and may have it open
};

/// Calls `body(context, task)` in a reader for each of `files`, in waves, and `on_result` here for each file, in the
/// order of the files; `on_begin` before a file is given to a reader, if there is one. `body` is a plain function;
/// `argument` is memory in the arena that it gets as well.
using FileBody = void (*)(SliceContext& context, const FileTask& task, const std::byte* argument);
void for_each_file(Session::State& state, const std::vector<std::string>& files, FileBody body,
                   const std::byte* argument, const std::function<void(FileResult)>& on_result,
                   const std::function<void(std::size_t file)>& on_begin = {});

}  // namespace runrig::batch
