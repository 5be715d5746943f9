#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runrig/shm/handle.hpp"
#include "runrig/shm/nd_array.hpp"
#include "runrig/shm/shape.hpp"
#include "runrig/shm/shareable_list.hpp"
#include "runrig/shm/shared_memory.hpp"

namespace runrig {

/// Segments, lists and arrays that end together: with a scope, with shutdown(), or with the process that made the
/// manager, however that ends (also by SIGKILL, and also while children that use them live on). After Python's
/// multiprocessing.managers.SharedMemoryManager:
///
///     {
///       runrig::SharedMemoryManager manager;
///       auto list = manager.shareable_list({2, "b"});
///       auto table = manager.array<double>(runrig::Shape{1000, 1000});
///       ...                                              // hand them, or their handles, to workers
///     }                                                  // here the names are gone
///
/// What ends is the *names*; mappings stay valid until they are unmapped, and when the last is, so is the memory. What
/// was made may lose its name before, by unlink(), or be kept by persist().
///
/// Where Python starts a server process and talks to it, the manager is a session of its own in the registry (see
/// tracker.hpp), and its process the resource tracker of that session, "runrig-tracker" in `ps -e`. There is no server
/// to ask: any process that has the handle may create in the manager. A forked child uses its copy of the object so;
/// shutdown() and the end of the scope mean something in the process that started it only.
///
/// Starting takes about a millisecond, for two forks. Creating may be done by several threads at once; shutdown(),
/// moves and the destructor not beside anything else.
class SharedMemoryManager {
 public:
  /// Starts the manager, as Python's start(). Throws Error: not_enough_memory, too_many_files_open, and the like.
  SharedMemoryManager();
  /// Uses a manager that another process started, as Python's connect(). Whether it still runs shows when one creates.
  [[nodiscard]] static SharedMemoryManager attach(const ManagerHandle& handle);
  SharedMemoryManager(SharedMemoryManager&& other) noexcept;
  SharedMemoryManager& operator=(SharedMemoryManager&& other) noexcept;
  SharedMemoryManager(const SharedMemoryManager&) = delete;
  SharedMemoryManager& operator=(const SharedMemoryManager&) = delete;
  /// Shuts down, in the process that started it.
  ~SharedMemoryManager();

  /// New segments with random names. These throw as SharedMemory, ShareableList and AnyArray's create() do; also Error
  /// no_such_file_or_directory if the manager was shut down, here or in its own process, or that has ended.
  [[nodiscard]] SharedMemory shared_memory(std::size_t size_bytes) const;
  [[nodiscard]] ShareableList shareable_list(std::span<const ShareableList::Item> items) const;
  [[nodiscard]] ShareableList shareable_list(std::initializer_list<ShareableList::Item> items) const;
  [[nodiscard]] AnyArray array(DType dtype, const Shape& shape) const;
  template <Element T>
  [[nodiscard]] NdArray<T> array(const Shape& shape) const {
    return NdArray<T>(array(dtype_of<T>, shape));
  }

  /// The names of all segments made in it, by whichever process, that have not lost them. Throws Error.
  [[nodiscard]] std::vector<std::string> list_segments() const;

  /// Removes the names of all segments made in it, by whichever process. When it returns they are gone, and nobody can
  /// create in it any more. Harmless the second time. Throws std::logic_error in a process that did not start it.
  void shutdown();

  /// For processes that did not inherit it. Throws std::logic_error when moved from.
  [[nodiscard]] ManagerHandle handle() const;

 private:
  struct State;
  explicit SharedMemoryManager(std::unique_ptr<State> state) noexcept;
  [[nodiscard]] detail::MakeSegment maker() const;

  std::unique_ptr<State> state_;
};

}  // namespace runrig
