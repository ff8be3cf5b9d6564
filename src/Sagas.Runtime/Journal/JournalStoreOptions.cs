using System.ComponentModel.DataAnnotations;

namespace Sagas.Runtime;

/// <summary>The journal's settings, configuration section <c>Sagas:Journal</c>; validated when the host starts.</summary>
public sealed class JournalStoreOptions
{
    /// <summary>A directory of this node's own, on a local disk; made when it is missing. No default.</summary>
    [Required(AllowEmptyStrings = false, ErrorMessage = "Sagas:Journal:Path is empty. Name a directory on a local disk, or use the memory store.")]
    public string Path { get; set; } = "";

    /// <summary>Size of one file of the journal, which also bounds the state of one saga. Default 64 MiB.</summary>
    [Range(1 << 12, 1 << 30, ErrorMessage = "Sagas:Journal:SegmentBytes must lie between 4096 and 1073741824.")]
    public int SegmentBytes { get; set; } = 64 << 20;

    /// <summary>Space kept back so that open sagas can end when the disk is full. Default 16 MiB; 0: none.</summary>
    [Range(0, 1 << 30, ErrorMessage = "Sagas:Journal:ReserveBytes must lie between 0 and 1073741824.")]
    public int ReserveBytes { get; set; } = 16 << 20;

    /// <summary>Write files full of zeros ahead of need: twice the commits a second, and a full disk shows early. Default true.</summary>
    public bool Preallocate { get; set; } = true;
}
