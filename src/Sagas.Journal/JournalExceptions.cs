namespace Sagas.Journal;

/// <summary>The journal holds something it cannot have written, or misses something it had proven durable. Nothing was changed.</summary>
public sealed class JournalCorruptException(string file, long offset, string what, string advice)
    : IOException($"The journal is damaged: {what}, in '{file}' at offset {offset}. {advice}")
{
    /// <summary>The damaged file.</summary>
    public string File { get; } = file;

    /// <summary>Where the damage starts.</summary>
    public long Offset { get; } = offset;

    /// <summary>What is wrong there.</summary>
    public string What { get; } = what;

    /// <summary>What to do about it.</summary>
    public string Advice { get; } = advice;
}

/// <summary>Another process, or another journal of this one, has the directory.</summary>
public sealed class JournalLockedException(string directory, Exception? inner = null)
    : IOException($"The journal in '{directory}' is in use by another process. Stop that process, or give this one a directory of its own.", inner)
{
    /// <summary>The directory.</summary>
    public string Directory { get; } = directory;
}

/// <summary>The journal was written in a format this version does not read.</summary>
public sealed class JournalVersionException(string file, uint version)
    : IOException($"'{file}' has format version {version}; this program reads version {Format.Version}. Run the version that wrote it.")
{
    /// <summary>The file.</summary>
    public string File { get; } = file;

    /// <summary>The version it states.</summary>
    public long Version { get; } = version;
}

/// <summary>The disk refused a write, and the journal accepts nothing more until it is opened again.</summary>
public sealed class JournalFailedException : IOException
{
    internal JournalFailedException(string directory, Exception cause, bool outcomeUnknown) : base(
        $"The journal in '{directory}' has failed: {cause.Message} "
        + (outcomeUnknown ? "Whether this append is durable is unknown. " : "Nothing of this append was written. ")
        + (DiskErrors.IsFull(cause)
            ? "The disk is full: free some space, then start again."
            : "Check the disk, then start again: recovery finds out what is durable."), cause)
    {
        OutcomeUnknown = outcomeUnknown;
        DiskFull = DiskErrors.IsFull(cause);
    }

    /// <summary>True: the records may or may not be there after the next opening. False: they are not.</summary>
    public bool OutcomeUnknown { get; }

    /// <summary>Whether the disk had no room left.</summary>
    public bool DiskFull { get; }
}

static class DiskErrors
{
    public const int NoSpace = 28;

    const int Quota = 122, WindowsFull = unchecked((int)0x80070070), WindowsHandleFull = unchecked((int)0x80070027);

    public static bool IsFull(Exception error) => error is JournalFailedException { DiskFull: true }
        || error is IOException && error.HResult is NoSpace or Quota or WindowsFull or WindowsHandleFull;
}
