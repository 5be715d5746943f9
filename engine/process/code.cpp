#include "runrig/engine/code.hpp"

#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "modules.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {

// Entries register from static initialisers, which dlopen() may run in any thread. One mutex guards all; it is never
// held while code of a module runs, so it only ever waits for the linker's own list lock, never the other way round.
class CodeTable {
 public:
  static void add(CodeEntry& entry);
  static void remove(CodeEntry& entry) noexcept;
  static void prepare();
  static const CodeEntry* find(const CodeRef& code, CodeKind kind);
  static CodeRef name(std::uintptr_t address, bool function);
  static const Module* module(const ModuleId& id);
  static std::mutex& mutex() noexcept { return mutex_; }

 private:
  struct Hash {
    std::size_t operator()(const CodeRef& code) const noexcept {
      std::uint64_t word = 0;
      std::memcpy(&word, code.module.data(), sizeof word);  // of a hash already
      return static_cast<std::size_t>(word ^ (code.offset * 0x9e3779b97f4a7c15));
    }
  };
  // Never destroyed: processes may be started by destructors of static objects.
  struct Index {
    Modules modules;
    std::unordered_map<CodeRef, const CodeEntry*, Hash> entries;
    std::uint64_t changes = 0;  // when it was made
  };
  static Index& index();
  static Index& complete_index();
  static void rebuild(Index& index);
  static void guard_forks();

  static constinit inline std::mutex mutex_;
  static constinit inline CodeEntry* head_ = nullptr;
  static constinit inline std::uint64_t changes_ = 0;
  static constinit inline bool forks_guarded_ = false;
  static constinit inline Index* index_ = nullptr;
};

namespace {

void lock_table() { CodeTable::mutex().lock(); }
void unlock_table() { CodeTable::mutex().unlock(); }

std::string text_of(const ModuleId& id) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const unsigned byte : id) text.append({digits[byte >> 4], digits[byte & 15]});
  return text;
}

[[noreturn]] void refuse(const CodeRef& code, bool module_is_here, const char* what) {
  const std::string place = std::string(what) + " at offset " + std::to_string(code.offset);
  if (!code) throw FormatError("find code of another process", "module", "the reference names nothing");
  throw FormatError("find code of another process", "module " + text_of(code.module),
                    module_is_here ? "it has no " + place
                                   : "no module of that build id is loaded here, so there is no " + place +
                                         "; load it before runrig::init() is called, and do not replace a program's "
                                         "libraries while it runs");
}

}  // namespace

CodeTable::Index& CodeTable::index() {
  guard_forks();
  if (index_ == nullptr) index_ = new Index;
  return *index_;
}

// A child must not find the mutex locked by a thread that it does not have.
void CodeTable::guard_forks() {
  if (forks_guarded_) return;
  add_fork_hooks(lock_table, unlock_table, unlock_table);
  forks_guarded_ = true;
}

void CodeTable::add(CodeEntry& entry) {
  const std::lock_guard guard(mutex_);
  guard_forks();
  // An entry that modules share (as weak symbols are shared) may be registered by each of them.
  if (entry.registrations_++ > 0) return;
  entry.previous_ = nullptr;
  entry.next_ = head_;
  if (head_ != nullptr) head_->previous_ = &entry;
  head_ = &entry;
  ++changes_;
}

void CodeTable::remove(CodeEntry& entry) noexcept {
  const std::lock_guard guard(mutex_);
  if (--entry.registrations_ > 0) return;
  (entry.previous_ != nullptr ? entry.previous_->next_ : head_) = entry.next_;
  if (entry.next_ != nullptr) entry.next_->previous_ = entry.previous_;
  ++changes_;
}

void CodeTable::rebuild(Index& index) {
  index.entries.clear();
  for (const CodeEntry* entry = head_; entry != nullptr; entry = entry->next_) {
    const auto address = reinterpret_cast<std::uintptr_t>(entry);
    const Module* module = index.modules.at(address);
    if (module == nullptr) continue;  // of a module that is just being unloaded
    index.entries.try_emplace(CodeRef{module->id, address - module->base}, entry);
  }
  index.changes = changes_;
}

CodeTable::Index& CodeTable::complete_index() {
  Index& known = index();
  if (known.changes != changes_) rebuild(known);
  return known;
}

void CodeTable::prepare() {
  const std::lock_guard guard(mutex_);
  (void)complete_index();
}

const CodeEntry* CodeTable::find(const CodeRef& code, CodeKind kind) {
  const std::lock_guard guard(mutex_);
  const Index& known = complete_index();
  const auto found = known.entries.find(code);
  return found == known.entries.end() || found->second->kind() != kind ? nullptr : found->second;
}

CodeRef CodeTable::name(std::uintptr_t address, bool function) {
  const std::lock_guard guard(mutex_);
  const Module* module = index().modules.at(address);
  if (module == nullptr || (function && !module->has_code_at(address))) return {};
  return {module->id, address - module->base};
}

const Module* CodeTable::module(const ModuleId& id) { return index().modules.with_id(id); }

CodeRegistration::CodeRegistration(CodeEntry& entry) : entry_(entry) { CodeTable::add(entry); }
CodeRegistration::~CodeRegistration() { CodeTable::remove(entry_); }

CodeRef CodeEntry::code() const {
  // Acquire: pairs with the release below; who sees 2 sees the name.
  if (code_state_.load(std::memory_order_acquire) == 2) return code_;
  const CodeRef code = CodeTable::name(reinterpret_cast<std::uintptr_t>(this), false);
  if (!code) throw std::logic_error("name code for another process: its entry lies in no module");
  std::uint32_t expected = 0;
  // Relaxed: it only chooses who writes; nobody reads before the release. If a fork comes in between, the child has to
  // look the name up each time.
  if (code_state_.compare_exchange_strong(expected, 1, std::memory_order_relaxed)) {
    code_ = code;
    code_state_.store(2, std::memory_order_release);
  }
  return code;
}

void prepare_to_find_code() { CodeTable::prepare(); }

const CodeEntry& find_code(const CodeRef& code, CodeKind kind) {
  const CodeEntry* entry = CodeTable::find(code, kind);
  if (entry == nullptr) {
    const std::lock_guard guard(CodeTable::mutex());
    refuse(code, CodeTable::module(code.module) != nullptr, "entry of that kind in its table");
  }
  return *entry;
}

CodeRef function_ref(std::uintptr_t function) {
  const CodeRef code = CodeTable::name(function, true);
  if (!code) {
    throw std::logic_error(
        "name a function for another process: its address is in no program or shared library; pass a function or "
        "lambda that is compiled into one");
  }
  return code;
}

std::uintptr_t resolve_function(const CodeRef& code) {
  const std::lock_guard guard(CodeTable::mutex());
  const Module* module = code ? CodeTable::module(code.module) : nullptr;
  // Wraps for an offset that is no offset; what comes out is compared with the segments like any other.
  const std::uintptr_t address = module != nullptr ? module->base + code.offset : 0;
  if (module == nullptr || !module->has_code_at(address)) refuse(code, module != nullptr, "code");
  return address;
}

}  // namespace runrig::detail
