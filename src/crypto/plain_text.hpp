#pragma once
// PlainText: where the contents of a sealed frame lie while somebody looks at them; wiped afterwards. The contents of other frames
// are looked at in the file's map, and a build without encryption has nothing of this.

#include <cstddef>
#include <new>

#include "base/config.hpp"
#if EMDB_ENCRYPT
#include "crypto/wipe.hpp"
#endif

namespace emdb::detail {

#if EMDB_ENCRYPT

class PlainText {
public:
    PlainText() noexcept {}
    PlainText(const PlainText&) = delete;
    PlainText& operator=(const PlainText&) = delete;
    ~PlainText() { clear(); }

    /// Room for `size` bytes instead of what was here; null: out of memory.
    std::byte* make(std::size_t size) noexcept {
        clear();
        data_ = size <= sizeof here_ ? here_ : static_cast<std::byte*>(::operator new(size, std::nothrow));
        size_ = data_ == nullptr ? 0 : size;
        lacks_memory_ = data_ == nullptr;
        return data_;
    }

    /// Whether the last make() failed.
    bool lacks_memory() const noexcept { return lacks_memory_; }

    bool is_used() const noexcept { return data_ != nullptr; }

    void clear() noexcept {
        if (data_ == nullptr) return;
        wipe(data_, size_);
        if (data_ != here_) ::operator delete(data_);
        data_ = nullptr;
    }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    bool lacks_memory_ = false;
    std::byte here_[496];
};

#else

class PlainText {
public:
    bool is_used() const noexcept { return false; }
    bool lacks_memory() const noexcept { return false; }
    void clear() noexcept {}
};

#endif

}  // namespace emdb::detail
