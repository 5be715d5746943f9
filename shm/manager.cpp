#include "runrig/shm/manager.hpp"

#include <stdexcept>
#include <utility>

#include "participation.hpp"
#include "runrig/sync/error.hpp"
#include "segment_file.hpp"

namespace runrig {

struct SharedMemoryManager::State {
  ManagerHandle handle;
  std::unique_ptr<detail::OwnedSession> session;  // none for an attached manager
  bool ended = false;
};

SharedMemoryManager::SharedMemoryManager() : state_(std::make_unique<State>()) {
  state_->session = std::make_unique<detail::OwnedSession>();
  state_->handle = state_->session->handle();
  detail::sweep_at_start();
}

SharedMemoryManager SharedMemoryManager::attach(const ManagerHandle& handle) {
  auto state = std::make_unique<State>();
  state->handle = handle;
  return SharedMemoryManager(std::move(state));
}

SharedMemoryManager::SharedMemoryManager(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
SharedMemoryManager::SharedMemoryManager(SharedMemoryManager&& other) noexcept = default;

SharedMemoryManager& SharedMemoryManager::operator=(SharedMemoryManager&& other) noexcept {
  if (this != &other) {
    if (state_ && state_->session) state_->session->end();
    state_ = std::move(other.state_);
  }
  return *this;
}

SharedMemoryManager::~SharedMemoryManager() {
  if (state_ && state_->session) state_->session->end();
}

ManagerHandle SharedMemoryManager::handle() const {
  if (!state_) throw std::logic_error("use of a SharedMemoryManager after it was moved from");
  return state_->handle;
}

detail::MakeSegment SharedMemoryManager::maker() const {
  return [handle = handle()](std::size_t size_bytes, const auto& fill) {
    return SharedMemory::create(detail::visit_session(handle), size_bytes, fill);
  };
}

SharedMemory SharedMemoryManager::shared_memory(std::size_t size_bytes) const { return maker()(size_bytes, nullptr); }

ShareableList SharedMemoryManager::shareable_list(std::span<const ShareableList::Item> items) const {
  return ShareableList::make(items, maker());
}

ShareableList SharedMemoryManager::shareable_list(std::initializer_list<ShareableList::Item> items) const {
  return shareable_list(std::span(items.begin(), items.size()));
}

AnyArray SharedMemoryManager::array(DType dtype, const Shape& shape) const {
  return AnyArray::make(dtype, shape, maker());
}

std::vector<std::string> SharedMemoryManager::list_segments() const {
  struct Search {
    const detail::Registry& registry;
    const ManagerHandle handle;
    std::vector<std::string> names{};
  };
  const auto registry = detail::Registry::open_existing();
  if (!registry) return {};
  Search search{*registry, handle()};
  registry->for_each(
      's',
      [](void* context, const char* file_name) {
        auto& found = *static_cast<Search*>(context);
        const auto entry = found.registry.read(file_name);
        if (entry && entry->session == found.handle.session &&
            detail::leads_to(detail::SegmentPath(entry->name.data()).c_str(), entry->id)) {
          found.names.emplace_back(entry->name.data());
        }
      },
      &search);
  return std::move(search.names);
}

void SharedMemoryManager::shutdown() {
  (void)handle();
  if (state_->ended) return;
  if (!state_->session || !state_->session->owned()) {
    throw std::logic_error("shutdown() of a SharedMemoryManager by a process that did not start it");
  }
  state_->session->end();
  state_->ended = true;
}

}  // namespace runrig
