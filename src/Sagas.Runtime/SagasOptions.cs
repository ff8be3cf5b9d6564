using System.ComponentModel.DataAnnotations;

namespace Sagas.Runtime;

/// <summary>The engine's settings, configuration section <c>Sagas</c>; validated when the host starts.</summary>
public sealed class SagasOptions
{
    /// <summary>This node's name, unique among engine nodes; names its reply queue. Default: a random one.</summary>
    [Required, RegularExpression("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    public string Node { get; set; } = Guid.NewGuid().ToString("N")[..12];

    /// <summary>How many workers share the sagas. Default: the number of processors, at most 8.</summary>
    [Range(1, 64)]
    public int Workers { get; set; } = Math.Min(Environment.ProcessorCount, 8);

    /// <summary>How many events may wait for one worker before starts are answered with "too busy". Default 8192.</summary>
    [Range(16, 1 << 20)]
    public int MailboxSize { get; set; } = 8192;

    /// <summary>The most events in one batch. Default 1024.</summary>
    [Range(1, 1 << 16)]
    public int BatchSize { get; set; } = 1024;

    /// <summary>How many unfinished sagas this node holds before starts are answered with "too busy". Default 100000.</summary>
    [Range(1, int.MaxValue)]
    public int MaxOpenSagas { get; set; } = 100_000;

    /// <summary>How long a reply that causes no command may stay unwritten. Default 100 ms.</summary>
    public TimeSpan LazyFlush { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>After how many failed attempts of a phase that is never given up the saga shows as Stuck. Default 10.</summary>
    [Range(1, int.MaxValue)]
    public int StuckAfter { get; set; } = 10;

    /// <summary>Where HTTP participants reach this API for callbacks, such as <c>https://sagas.example.com</c>; null (the default): they are not told.</summary>
    public Uri? CallbackBaseUrl { get; set; }

    /// <summary>How HTTP participants are called; configuration section <c>Sagas:Http</c>.</summary>
    public HttpOptions Http { get; set; } = new();

    /// <summary>
    /// Definitions in JSON to load at startup: files, and folders whose <c>*.json</c> are all loaded. In configuration a list, or one value with
    /// <c>;</c> between the paths. The store keeps them: a saga goes on when its file is gone. Default none.
    /// </summary>
    public IList<string> Definitions { get; } = [];

    /// <summary>How much a verification over REST may take; configuration section <c>Sagas:Verify</c>.</summary>
    public VerifyOptions Verify { get; set; } = new();

    /// <summary>How long finished sagas are kept. Default 7 days.</summary>
    public TimeSpan Retention { get; set; } = TimeSpan.FromDays(7);

    /// <summary>How long a stopping node waits for what it has begun. Default 10 s.</summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(10);
}

/// <summary>How much a verification over REST may take. A node runs one at a time.</summary>
public sealed class VerifyOptions
{
    /// <summary>After so long it ends without a verdict. Default 30 s.</summary>
    public TimeSpan TimeLimit { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>After how many states it ends without a verdict; a million take some 60 MB. Default 5 million.</summary>
    [Range(1000, 100_000_000)]
    public int MaxStates { get; set; } = 5_000_000;
}

/// <summary>How HTTP participants are called.</summary>
public sealed class HttpOptions
{
    /// <summary>How many requests to one host and port run at the same time; more wait, and hold up no other host. Default 256.</summary>
    [Range(1, 65536)]
    public int PerHost { get; set; } = 256;

    /// <summary>
    /// The hosts that may be called: a name, an address or a network (<c>bank.example.com</c>, <c>10.1.2.3</c>, <c>10.0.0.0/8</c>; a name or an address also with
    /// <c>:port</c>). Addresses are checked as they are connected to. Empty (the default): any.
    /// </summary>
    public IList<string> AllowedHosts { get; } = [];

    /// <summary>
    /// The hosts beside this machine that definitions put over REST may call, named as in <see cref="AllowedHosts"/>; <c>*</c>: any. Empty (the default):
    /// none. Definitions from code and files may call any host that <see cref="AllowedHosts"/> allows.
    /// </summary>
    public IList<string> RestHosts { get; } = [];
}
