namespace Sagas.Server;

/// <summary>The standalone host's own settings, configuration section <c>Sagas</c>.</summary>
internal sealed class ServerOptions
{
    /// <summary>Where it listens when nothing else is said.</summary>
    public const string DefaultUrl = "http://127.0.0.1:5080";

    /// <summary>Where its journal is when nothing else is said.</summary>
    public const string DefaultJournal = "data";

    /// <summary>Whether it may listen where other machines reach it. There is no authentication: whoever reaches it may start, cancel and read every saga.</summary>
    public bool AllowRemote { get; set; }
}
