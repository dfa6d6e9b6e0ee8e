"""Well-known code systems whose codes no FHIR package lists: ISO's countries and currencies, and systems told by a grammar.

Sources are named at each table; http://hl7.org/fhir/R4/terminologies-systems.html says which system has which URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from service.terminology.definitions import CodeSystem, Concept, Filter

COUNTRIES: Final = "urn:iso:std:iso:3166"
CURRENCIES: Final = "urn:iso:std:iso:4217"
LANGUAGES: Final = "urn:ietf:bcp:47"
MIME_TYPES: Final = "urn:ietf:bcp:13"
UCUM: Final = "http://unitsofmeasure.org"

Rule = Callable[[str], bool]


def code_system(url: str) -> CodeSystem | None:
    """One of the systems that are short enough to be listed here, without displays; None for any other."""
    codes = _LISTED.get(url)
    return CodeSystem(url=url, concept=tuple(map(Concept, codes))) if codes else None


def rule(url: str, filters: Sequence[Filter] = ()) -> Rule | None:
    """The test for codes of a system that is told by a grammar, those that pass the filters; None where there is none."""
    if not filters:
        return _RULES.get(url)
    if url == LANGUAGES and all(each.op == "exists" and each.property in _PARTS for each in filters):
        wanted = tuple((_PARTS[each.property], each.value == "true") for each in filters)
        return lambda code: _is_language_with(code, wanted)
    return None


def is_unit(code: str) -> bool:
    """Whether a code is UCUM: https://ucum.org/ucum"""
    from service.terminology.ucum import problem  # its table is large, and many a case has no unit

    return problem(code) is None


def is_mime_type(code: str) -> bool:
    """Whether a code reads as a media type, or is one of FHIR's own short names for its formats.

    Types are registered daily, so their names are not checked. Sources: RFC 2045 section 5.1 (RFC 6838 is narrower, but
    would refuse "image/*"), and for the short names
    http://hl7.org/fhir/R4/capabilitystatement-definitions.html#CapabilityStatement.format
    """
    return code in _FORMATS or _MIME_TYPE.fullmatch(code) is not None


def is_language(code: str) -> bool:
    """Whether a code is a language tag: RFC 5646, in any letter case, as its section 2.1.1 has it.

    Languages and regions of two letters and scripts must be registered; of the thousands of others only the form is checked.
    """
    return _is_language_with(code, ())


_FORMATS: Final = frozenset({"json", "xml", "ttl"})
_NAME: Final = r"[\w!#$%&'*+.^`{|}~-]+"
_MIME_TYPE: Final = re.compile(
    rf"{_NAME}/{_NAME}(?:[ \t]*;[ \t]*{_NAME}=(?:{_NAME}|\"(?:[^\"\\\r\n]|\\.)*\"))*[ \t]*;?", re.ASCII
)

# RFC 5646 section 2.1. A language of four letters or more is reserved, or has yet to be registered.
_TAG: Final = re.compile(
    r"""(?P<language>[a-z]{2,3}) (?P<extlang>(?:-[a-z]{3}){1,3})? (?P<script>-[a-z]{4})? (?:-(?P<region>[a-z]{2}|[0-9]{3}))?
    (?P<variant>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))+)? (?P<extension>(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)+)?
    (?P<private>-x(?:-[a-z0-9]{1,8})+)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_PRIVATE_TAG: Final = re.compile(r"x(?:-[a-z0-9]{1,8})+", re.IGNORECASE | re.ASCII)
# By the property that a filter names, as US Core's value set simple-language does: FHIR itself defines none for BCP 47.
_PARTS: Final = {
    "ext-lang": "extlang",
    "script": "script",
    "region": "region",
    "variant": "variant",
    "extension": "extension",
    "private-use": "private",
}


def _is_language_with(code: str, wanted: Sequence[tuple[str, bool]]) -> bool:
    tag = _TAG.fullmatch(code)
    if tag is None:
        is_known = _PRIVATE_TAG.fullmatch(code) is not None or code.lower() in _OLD_TAGS
        return is_known and not wanted
    language, region = tag["language"].lower(), (tag["region"] or "").upper()
    return (
        (len(language) != 2 or language in _TWO_LETTERS)
        and (len(region) != 2 or region in _REGIONS)
        and (tag["script"] is None or _is_script(tag["script"][1:].lower()))
        and _differ(part for part in (tag["extension"] or "").lower().split("-") if len(part) == 1)
        and all((tag[part] is not None) is there for part, there in wanted)
    )


def _is_script(code: str) -> bool:
    return code in _SCRIPTS or "qaaa" <= code <= "qabx"  # of four letters: the second are for private use


def _differ(letters: Iterable[str]) -> bool:
    """Whether none is there twice: of each kind of extension, which one letter tells, there is one (RFC 5646 section 2.2.6)."""
    found = list(letters)
    return len(set(found)) == len(found)


# Tables -------------------------------------------------------------------------------------------------------------

# The tags from before RFC 4646 that its grammar would refuse: IANA's registry, "grandfathered", those of irregular form.
_OLD: Final = """
    en-gb-oed i-ami i-bnn i-default i-enochian i-hak i-klingon i-lux i-mingo i-navajo i-pwn i-tao i-tay i-tsu
    sgn-be-fr sgn-be-nl sgn-ch-de
    """
_OLD_TAGS: Final = frozenset(_OLD.split())

# The language subtags of two letters in IANA's registry, which are those of ISO 639-1 and six that it gave up.
_ISO_639_1: Final = """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
    et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik in io is it iu iw ja ji jv jw
    ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mo mr ms mt my na nb nd ne ng
    nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv
    sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """
_TWO_LETTERS: Final = frozenset(_ISO_639_1.split())

# The scripts of ISO 15924, as IANA's registry has them (without those for private use).
_ISO_15924: Final = """
    adlm afak aghb ahom arab aran armi armn avst bali bamu bass batk beng bhks blis bopo brah brai bugi buhd cakm cans cari
    cham cher chrs cirt copt cpmn cprt cyrl cyrs deva diak dogr dsrt dupl egyd egyh egyp elba elym ethi geok geor glag gong
    gonm goth gran grek gujr guru hanb hang hani hano hans hant hatr hebr hira hluw hmng hmnp hrkt hung inds ital jamo java
    jpan jurc kali kana kawi khar khmr khoj kitl kits knda kore kpel kthi lana laoo latf latg latn leke lepc limb lina linb
    lisu loma lyci lydi mahj maka mand mani marc maya medf mend merc mero mlym modi mong moon mroo mtei mult mymr nagm nand
    narb nbat newa nkdb nkgb nkoo nshu ogam olck orkh orya osge osma ougr palm pauc perm phag phli phlp phlv phnx piqd plrd
    prti ranj rjng rohg roro runr samr sara sarb saur sgnw shaw shrd shui sidd sind sinh sogd sogo sora soyo sund sunu sylo
    syrc syre syrj syrn tagb takr tale talu taml tang tavt telu teng tfng tglg thaa thai tibt tirh tnsa toto ugar vaii visp
    vith wara wcho wole xpeo xsux yezi yiii zanb zinh zmth zsye zsym zxxx zyyy zzzz
    """
_SCRIPTS: Final = frozenset(_ISO_15924.split())

# Each country by two letters, three letters and number, in one word. Facts from pycountry 26.2.16 on PyPI.
_ISO_3166_1: Final = """
    ADAND020 AEARE784 AFAFG004 AGATG028 AIAIA660 ALALB008 AMARM051 AOAGO024 AQATA010 ARARG032 ASASM016 ATAUT040 AUAUS036
    AWABW533 AXALA248 AZAZE031 BABIH070 BBBRB052 BDBGD050 BEBEL056 BFBFA854 BGBGR100 BHBHR048 BIBDI108 BJBEN204 BLBLM652
    BMBMU060 BNBRN096 BOBOL068 BQBES535 BRBRA076 BSBHS044 BTBTN064 BVBVT074 BWBWA072 BYBLR112 BZBLZ084 CACAN124 CCCCK166
    CDCOD180 CFCAF140 CGCOG178 CHCHE756 CICIV384 CKCOK184 CLCHL152 CMCMR120 CNCHN156 COCOL170 CRCRI188 CUCUB192 CVCPV132
    CWCUW531 CXCXR162 CYCYP196 CZCZE203 DEDEU276 DJDJI262 DKDNK208 DMDMA212 DODOM214 DZDZA012 ECECU218 EEEST233 EGEGY818
    EHESH732 ERERI232 ESESP724 ETETH231 FIFIN246 FJFJI242 FKFLK238 FMFSM583 FOFRO234 FRFRA250 GAGAB266 GBGBR826 GDGRD308
    GEGEO268 GFGUF254 GGGGY831 GHGHA288 GIGIB292 GLGRL304 GMGMB270 GNGIN324 GPGLP312 GQGNQ226 GRGRC300 GSSGS239 GTGTM320
    GUGUM316 GWGNB624 GYGUY328 HKHKG344 HMHMD334 HNHND340 HRHRV191 HTHTI332 HUHUN348 IDIDN360 IEIRL372 ILISR376 IMIMN833
    ININD356 IOIOT086 IQIRQ368 IRIRN364 ISISL352 ITITA380 JEJEY832 JMJAM388 JOJOR400 JPJPN392 KEKEN404 KGKGZ417 KHKHM116
    KIKIR296 KMCOM174 KNKNA659 KPPRK408 KRKOR410 KWKWT414 KYCYM136 KZKAZ398 LALAO418 LBLBN422 LCLCA662 LILIE438 LKLKA144
    LRLBR430 LSLSO426 LTLTU440 LULUX442 LVLVA428 LYLBY434 MAMAR504 MCMCO492 MDMDA498 MEMNE499 MFMAF663 MGMDG450 MHMHL584
    MKMKD807 MLMLI466 MMMMR104 MNMNG496 MOMAC446 MPMNP580 MQMTQ474 MRMRT478 MSMSR500 MTMLT470 MUMUS480 MVMDV462 MWMWI454
    MXMEX484 MYMYS458 MZMOZ508 NANAM516 NCNCL540 NENER562 NFNFK574 NGNGA566 NINIC558 NLNLD528 NONOR578 NPNPL524 NRNRU520
    NUNIU570 NZNZL554 OMOMN512 PAPAN591 PEPER604 PFPYF258 PGPNG598 PHPHL608 PKPAK586 PLPOL616 PMSPM666 PNPCN612 PRPRI630
    PSPSE275 PTPRT620 PWPLW585 PYPRY600 QAQAT634 REREU638 ROROU642 RSSRB688 RURUS643 RWRWA646 SASAU682 SBSLB090 SCSYC690
    SDSDN729 SESWE752 SGSGP702 SHSHN654 SISVN705 SJSJM744 SKSVK703 SLSLE694 SMSMR674 SNSEN686 SOSOM706 SRSUR740 SSSSD728
    STSTP678 SVSLV222 SXSXM534 SYSYR760 SZSWZ748 TCTCA796 TDTCD148 TFATF260 TGTGO768 THTHA764 TJTJK762 TKTKL772 TLTLS626
    TMTKM795 TNTUN788 TOTON776 TRTUR792 TTTTO780 TVTUV798 TWTWN158 TZTZA834 UAUKR804 UGUGA800 UMUMI581 USUSA840 UYURY858
    UZUZB860 VAVAT336 VCVCT670 VEVEN862 VGVGB092 VIVIR850 VNVNM704 VUVUT548 WFWLF876 WSWSM882 YEYEM887 YTMYT175 ZAZAF710
    ZMZMB894 ZWZWE716
    """
# What IANA's registry has as regions besides the countries: reserved codes, former countries, and those for private use.
_OTHER_REGIONS: Final = """
    AC AN BU CP CS DD DG EA EU EZ FX IC NT SU TA TP UN YD YU ZR
    AA QM QN QO QP QQ QR QS QT QU QV QW QX QY QZ
    XA XB XC XD XE XF XG XH XI XJ XK XL XM XN XO XP XQ XR XS XT XU XV XW XX XY XZ ZZ
    """
_REGIONS: Final = frozenset([country[:2] for country in _ISO_3166_1.split()] + _OTHER_REGIONS.split())

# Those of R4's own expansion (hl7.fhir.r4.expansions 4.0.1, of 2018) and those that have come since, by pycountry 26.2.16.
_ISO_4217: Final = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GGP GHS GIP GMD GNF GTQ GYD
    HKD HNL HRK HTG HUF IDR ILS IMP INR IQD IRR ISK JEP JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
    LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG
    QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TVD TWD
    TZS UAH UGX USD USN UYI UYU UYW UZS VED VEF VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT
    XSU XTS XUA XXX YER ZAR ZMW ZWG ZWL
    """

_LISTED: Final[dict[str, list[str]]] = {
    COUNTRIES: [code for each in _ISO_3166_1.split() for code in (each[:2], each[2:5], each[5:])],
    CURRENCIES: _ISO_4217.split(),
}
_RULES: Final[dict[str, Rule]] = {LANGUAGES: is_language, MIME_TYPES: is_mime_type, UCUM: is_unit}
