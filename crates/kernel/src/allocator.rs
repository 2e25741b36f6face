//! The program's allocator. Processes that are many and allocate little, such as shims, have the C library's, which is small; the one that
//! serves has mimalloc. A static program's C library has one lock for all threads and gives pages back at the first chance, only to ask for
//! them again.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use libmimalloc_sys::{mi_free, mi_is_in_heap_region, mi_malloc_aligned, mi_realloc_aligned, mi_zalloc_aligned};

/// Both, of which one serves what is asked. What the other gave goes back to that.
#[derive(Debug, Default)]
pub struct Allocator {
    is_fast: AtomicBool,
}

impl Allocator {
    /// The small one serves.
    pub const fn new() -> Self {
        Self { is_fast: AtomicBool::new(false) }
    }

    /// From now on the fast one serves.
    pub fn hurry(&self) {
        self.is_fast.store(true, Relaxed);
    }

    fn is_fast(&self) -> bool {
        self.is_fast.load(Relaxed)
    }

    /// Whether the fast one gave it. Who has something of it knows that it serves: it was told no later than what it was given.
    fn is_of_fast(&self, given: *mut u8) -> bool {
        // SAFETY: any address may be asked about; it is looked up, not followed.
        self.is_fast() && unsafe { mi_is_in_heap_region(given.cast()) }
    }
}

// SAFETY: both keep the contract of `GlobalAlloc` by themselves (mimalloc's `mi_*_aligned` give blocks of that size and alignment or null, and
// keep what is in them when they grow), neither unwinds, and what one gave is never handed to the other.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this function, which is theirs.
        unsafe {
            if self.is_fast() { mi_malloc_aligned(layout.size(), layout.align()).cast() } else { System.alloc(layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if self.is_fast() {
                mi_zalloc_aligned(layout.size(), layout.align()).cast()
            } else {
                System.alloc_zeroed(layout)
            }
        }
    }

    unsafe fn dealloc(&self, given: *mut u8, layout: Layout) {
        // SAFETY: it goes to the one who gave it.
        unsafe { if self.is_of_fast(given) { mi_free(given.cast()) } else { System.dealloc(given, layout) } }
    }

    unsafe fn realloc(&self, given: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.is_of_fast(given) {
            // SAFETY: it gave this block, of this alignment.
            return unsafe { mi_realloc_aligned(given.cast(), size, layout.align()).cast() };
        }
        if !self.is_fast() {
            // SAFETY: it gave this block, of this layout.
            return unsafe { System.realloc(given, layout, size) };
        }
        // SAFETY: the caller promises that the size with this alignment does not overflow. Both blocks are as long as what is copied, the new
        // one is nobody else's, and the old one is not used again.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(given, new, layout.size().min(size));
                System.dealloc(given, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_before_is_kept_and_goes_back() {
        let check = |size: usize, align: usize, later: usize| {
            let allocator = Allocator::new();
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the layouts are those with which the blocks were asked for, and nothing is read or written beyond them.
            unsafe {
                let small = [allocator.alloc(layout), allocator.alloc_zeroed(layout)];
                small.iter().for_each(|block| block.write_bytes(7, size));
                assert!(!allocator.is_of_fast(small[0]));
                allocator.hurry();
                let fast = [allocator.alloc(layout), allocator.alloc_zeroed(layout)];
                assert!(fast.iter().all(|block| allocator.is_of_fast(*block)), "{size} {align}");
                assert!((0..size).all(|at| *fast[1].add(at) == 0), "{size} {align}");
                fast.iter().for_each(|block| block.write_bytes(7, size));
                for block in [small[1], fast[1]] {
                    let grown = allocator.realloc(block, layout, later);
                    assert!(allocator.is_of_fast(grown) && grown.addr() % align == 0, "{size} {align} {later}");
                    assert!((0..size.min(later)).all(|at| *grown.add(at) == 7), "{size} {align} {later}");
                    allocator.dealloc(grown, Layout::from_size_align(later, align).unwrap());
                }
                allocator.dealloc(small[0], layout);
                allocator.dealloc(fast[0], layout);
            }
        };
        for (size, align, later) in [(1, 1, 2), (100, 8, 40), (64, 64, 4096), (5000, 16, 1 << 20), (1 << 20, 4096, 10)]
        {
            check(size, align, later);
        }
    }
}
