using System.Collections;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using Sagas.MassTransit;
using Sagas.Redis;
using Sagas.Runtime;

namespace Sagas.Server;

/// <summary>One key of the configuration.</summary>
/// <param name="Key">Such as <c>Sagas:Journal:Path</c>.</param>
/// <param name="Property">The options' property that it sets.</param>
/// <param name="Default">What holds when it is not set.</param>
internal sealed record Setting(string Key, PropertyInfo Property, object? Default)
{
    public bool IsList => typeof(IEnumerable<string>).IsAssignableFrom(Property.PropertyType);

    /// <summary>What values it takes, as the end of "Give …".</summary>
    public string Expected => (Of<RangeAttribute>(), Property.PropertyType) switch
    {
        ({ } range, _) => string.Create(CultureInfo.InvariantCulture, $"a whole number from {range.Minimum} to {range.Maximum}"),
        (_, { } type) when type == typeof(bool) => "true or false",
        (_, { } type) when type == typeof(TimeSpan) => "a time longer than none as [days.]hours:minutes:seconds, such as 00:00:10 or 7.00:00:00",
        (_, { IsEnum: true } type) => string.Join(" or ", Enum.GetNames(type)),
        (_, { } type) when type == typeof(Uri) => "an absolute http or https URL",
        _ when Of<RegularExpressionAttribute>() is { } pattern => $"text that matches {pattern.Pattern}",
        _ => "text that is not empty",
    };

    public bool Takes(string value)
    {
        var type = Property.PropertyType;
        if (type == typeof(bool)) return bool.TryParse(value, out _);
        if (type == typeof(TimeSpan)) return TimeSpan.TryParse(value, CultureInfo.InvariantCulture, out var time) && time > TimeSpan.Zero;
        if (type.IsEnum) return Enum.GetNames(type).Contains(value, StringComparer.OrdinalIgnoreCase);
        if (type == typeof(Uri)) return Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is "http" or "https";
        if (type == typeof(int)) return int.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && Of<RangeAttribute>()?.IsValid(number) != false;
        return value.Trim().Length > 0 && Of<RegularExpressionAttribute>()?.IsValid(value) != false;
    }

    private T? Of<T>() where T : Attribute => Property.GetCustomAttribute<T>();
}

/// <summary>Every key that the host takes, read off the options' classes.</summary>
internal static class Settings
{
    public static readonly IReadOnlyList<Setting> All =
    [
        .. Of("Sagas", new ServerOptions()), .. Of("Sagas", new SagasOptions()), .. Of("Sagas:Journal", new JournalStoreOptions { Path = ServerOptions.DefaultJournal }),
        .. Of("Sagas:Redis", new RedisOptions()), .. Of("Sagas:RabbitMq", new RabbitMqOptions()),
    ];

    // Of servers with passwords, of texts with them, and of URLs with a user.
    private static readonly string[] Secrets = ["Sagas:Redis:", "Sagas:RabbitMq:", "pass", "secret", "@"];

    /// <summary>What is wrong in the section <c>Sagas</c>: each with key, value and what is expected.</summary>
    public static IReadOnlyList<string> FaultsOf(IConfiguration configuration)
    {
        var faults = new List<string>();
        foreach (var (key, value) in configuration.GetSection("Sagas").AsEnumerable().Where(entry => entry.Value is not null).OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            var setting = All.FirstOrDefault(one => key.Equals(one.Key, StringComparison.OrdinalIgnoreCase) || (one.IsList && key.StartsWith(one.Key + ":", StringComparison.OrdinalIgnoreCase)));
            // Under a mistyped key there may be a password, or a text with one in it.
            var shown = Secrets.Any(word => key.Contains(word, StringComparison.OrdinalIgnoreCase) || value!.Contains(word, StringComparison.OrdinalIgnoreCase)) ? "***" : value;
            if (setting is null) faults.Add($"{key} is '{shown}', but there is no such setting. {Nearest(key)}");
            else if (!setting.Takes(value!) && !(setting.IsList && key.Length == setting.Key.Length)) faults.Add($"{key} is '{value}'. Give {setting.Expected}.");
        }
        return faults;
    }

    /// <summary>Whether no setting says where to listen.</summary>
    public static bool NamesNoAddress(IConfiguration configuration) =>
        new[] { "urls", "http_ports", "https_ports" }.All(key => string.IsNullOrWhiteSpace(configuration[key])) && !configuration.GetSection("Kestrel:Endpoints").Exists();

    private static string Nearest(string key)
    {
        var last = key[(key.LastIndexOf(':') + 1)..];
        var near = All.Where(one => Distance(one.Property.Name.ToLowerInvariant(), last.ToLowerInvariant()) <= 2).Select(one => one.Key).ToArray();
        return near.Length > 0 ? $"Is {string.Join(" or ", near)} meant?" : $"The settings are {string.Join(", ", All.Select(one => one.Key))}.";
    }

    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0]++;
            for (var j = 1; j <= b.Length; j++) (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
        }
        return row[^1];
    }

    private static IEnumerable<Setting> Of(string section, object options)
    {
        foreach (var property in options.GetType().GetProperties().OrderBy(property => property.MetadataToken))
        {
            var (key, value) = ($"{section}:{property.Name}", property.GetValue(options));
            var isNested = property.PropertyType is { IsClass: true } type && type != typeof(string) && type != typeof(Uri) && !typeof(IEnumerable).IsAssignableFrom(type);
            if (isNested)
                foreach (var inner in Of(key, value!)) yield return inner;
            else yield return new Setting(key, property, value);
        }
    }
}
