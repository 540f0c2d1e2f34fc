"""Small HDF5 files as h5py 3.16 writes them, compressed; only their structure matters."""

from __future__ import annotations

import base64
import zlib


def read(name: str) -> bytes:
    return zlib.decompress(base64.b85decode(PACKED[name]))


PACKED = {
    "dense_attributes.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4@)D3E>++#o1$At^GY*f|wX8xR@9i85l%`7+4q>B84E*uc0)P5V9dKz~IC{1u*qP(F=EH"
        "e;-B=M*t$m$bd?hL1`u&;><Y2S#XH6;t*%UA<m9NoCAkACk}Bg9OB$K#CdRt^Frw<P`X+vIVZ8WI6f~iH&w|>K`A)3"
        "urxKVBr`EbNk>5`IX^EgGaV>it(22knOal~WJaTF@kz{0N=Zaho>rQdT#}ie2hyNqQts-A3OqrC3y1*f%PY;vfsnDa"
        "wLpX%#~OSLqhJ(_f>AIEM!_f;1*2dTjDk@x3Pu5gTX3)|gP<_9vunl3a17kjFLHBJ8x5Sn6H7rJ0pKAICfGO)2*5^z"
        "te}GwuxNx2zObO0!b_xWEJ!*bMr#1+WKoz{;-vZSokBcZfGz?i7D1p$ibk?9%nq0>2fZq$xdj7NF~Ho1KDLCgFMy!}"
        "Xa`JYGt`gL45;+FMS16)LVVnS_PzqCGyw$x1B3pKjT{VO3<!ZG1&($Men=|5^(DJ9Y(i3T-06r1LmiSp(E+b0202jD"
        "H-!iYyVXTA1S1KkaB5XEbbtixAObH~<~J}jA=$#eJhGEP3Q1tYVf(EN&yZ~C;(C3YVH=W)QwFC`FnA%U$aP|Qy<*-M"
        "w$UVyD<^okIKc-=!C-6Mn<>l;%nTx+M4N5EAj!xG&Ljfx^aM_(VD@ID6o}AcNR%EX6g@^n>0w6EV@#AD78E@uMCoBg"
        "(PK)K9ySy`W<=>>N6}+WlpYQgJr+di;Y876Nt7NgupSmzoD!E1xKT9`mlAluns_0aa`RJCbK)T*w>WiALDJ1Tnu#d@"
        "0HwsyUH"
    ),
    "dense_links.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4@*}1K}G$#mkQ7zV-KT31VWX;9_E6WME(t0tw${g-GYJLDfYt&<s@mm74)|0>twFXaM3c"
        "S~}tA&J$}!oiOTzLF5Ft;9ysV$<XY_Xu`;F2E^!}p^=DH%OG$uiCRWoOiro@@(5sH2XdGg1Q;+1cN0bkAC_!@s!(Yt"
        ";3d*V79^bzqZNR39v4h(@7I<@rw|Vp23C+dZlFkt##1(!9WYy__dn`%3kIrUfVq#60hLDB7r;;fv;!t{lo=u}#ehm*"
        "IP-O>Q;3fn1MAekJLMRr1BLh)cD%OHVb~00N;1T+pKik733fzfmzp`lQm}%f6W+NoB!flY@E7?p)Pk9!H=g=26o8rQ"
        "autgiY{1NYo8yWZ!oW<wzo(lSl)%jQTJeV&M8V9H&08)qbb*<|6@m8{^uf%q_${&wqktY@w3Zkw6_tmJ6TH0$0>K=!"
        "CowWGr5kL9XLF`>Lo-GM$7m-K$JmAm!7<s7#4&YZMsUo&AaTr>u^>1W5v&M~<x>tAhdJHQAcGT$XZRY%<8WZC0tQ(|"
        "NlAf~zJ7&%rCx?9gMP(mt|9{f003BMUH"
    ),
    "external_link.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4^`#5yCfsic4;co$K%662!z%!6byN5C*uI7=T*Xco={bW8!9*c^(W@11UwRUc@^g$&8Wu"
        "PFP#Ga3(QMkO4Y@!-26vlz~A{PalX<OOo{q5{rw=QyBCs7#J+bcfzKNiDm#X^iaP"
    ),
    "external_storage.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4{Iq5yCfsiZ9I(_4W5~31VWXU=l)B2m@S93_vYxJPbgJF>y1@JP!t{fs~?DFR&AU7BGr1"
        "FfcJPGIBxXU^Fui1ET-~$PFOC!N3Z16*CvR22clBl#yXS)MFfIro&9&0Q!!Z5$-FPbPvOz0#)}<<a@X}27uTSP%)^-"
        "816Hos?|>|N!Bk&EG{lj0rLUSH8l$"
    ),
    "lambda_fixed.h5": (
        "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvffD)*DC`f?Pj8M7*O0Qsoi8F)cB%tB~Q1ca-A^ZnW@sJ=_S7h_i?HL6l8+f=n"
        "27u@YD4zpLpI|~&2TO+mRI*nPnqJY<H4no9sC~RZw{S4z=BK3Q#3$$HrDdjr#D#$lnS$h=YNh0y#Ny)kyu{p8B`XD`"
        ";MBs>)Vz|+#2h6Z1to|+pm?=XPGV(hQ8ADijjqKfF*hkC5lwkoX<l+kW_}(>gOW+Pt0OA#1Q9ME0;n&qG$#i_#@5yX"
        "5y)KtWA0x&"
    ),
    "lambda_text.h5": (
        "c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvfIOI_IF!=;1%?PDCp!5nRm^d?7P68?}05xBM8N$ziiiZTbx`I^yM*}c>Jj5V0"
        "2g4{BiNM3vF#tqIK>4urbb<+0U2c9#YEFE4YG!&yNikBobRg4SL1=nKPuDyQ9?<m7%OC<wl@NQA^YhX&(?Q~rjErEN"
        "0&q8QpyZP&ATyZ}dB@$^--nR_ssT+M2vjR2=Oh*v$LA&HrYcz}C<Uh$mZs*FWG3b)=_n{c>;;NfE9E3srWO?gnbGK4"
        "d=hh$QWDXWr<LX<mt^MWfix(Yl)E~j0#6X(0wRF=@=9}ZAY^Q9EfAr^5C3Qy9R;Ic6pVsVFbYP&C>RB!U=)mkQ7{S!"
        "0Y)%HjBCKg9X1F<_!mSWG@)^_04WBf(S}hl(g6B68EiE7gD9%H6nMIW>Z8!!U_XBsPzr{nyAEMg^U>4sC?KsI*dY$#"
        "-;gA(99SVUS`Lhs1DNH&4@p#Y*)%Q(CWxb&kDiW40j_d@6%uBQFg~P2U}S^{K&K9nXbG@VK?Qqg*gG(oa5I?vhbmwN"
        "ih|^sn3xzL<pRV!X2uV)5ET+=F6bCk;enp6W=M~w5%R$YdvqEA+Iyx8"
    ),
    "plain.h5": (
        "c-rlm!A`<J5QcY)CPYOc5=Ek>>DhRJgL)AoC<h}(J&+iK4Xn^mi_(HIhC9BAM~^;&kK@rBcH3EHSB*wvV&Z(4VW+b@"
        "o8|AMo!%7lTd}e97~w>tWQ4@YFazLxQ67uyCtxYqKG<7L_(y|lDe%W(eLWJ68{j|OFBEw6KtbfWn+a`{ApenKVPlWm"
        "GK__u9yB@btW{%n<&s(ThUX6HGWX5ALa+U4S+5hM2>OnZq_4^_Z?)x|T6ON9qcoTqf7wG+x=*h8nvvIgXM3}>LkUb!"
        ";sR?_ZPRrtj(Nt6HQhL17ait!mT4PHx)J8}{nv(VUa_|8|2$Hs<eB3#CA#BS9uLm=ZnNrHUDLB#4v%g#yJPfv$Gu*V"
        "UmP=RnPiq%<^N|2HHshzf*=TjAP9mWpOFxK1{jO}*=wI+GUzijS=)3gUH=u|e^38HpCK~TXV3yamHKfaZz>s%SD?@K"
        "SwHSRO@^`|{|&VtC%VSv89A;7R_L+#!@LK(r94-#(B0#-yuPYq<b6J>13EZz>95s+_yX1etOIZBz)4z;YyNT_c$$^h"
        "S9OehR0qQEbK>AAR0K-t%kzV5Q$c7#Ux%~Lk?c6h4j^FE_wwtSrqQr2gzH6U8NMK<lpXZ{)Oo17BJ-$`@AJ5>+Gnfq"
        "qA>"
    ),
    "plain_latest.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4>jN4B;C<#pAN<uK9bo1TisG2naARY!-kBCqkvUm>3ut7(g=91tB6<P#GRO1_ovZUIq~c"
        "76yjg{FKz3_~iV&w9Iq{Nk&EnkTD?42v*C%zyu_#fp{}iH&~nn!p>$^O>lSi_W_FuAjw1ZfN7=VoW$bd_`Jm2R3$3~"
        "rQp=U($u_?%)}fe9R($b#X#|DrJTgd)S_Y_Ga6lsOKM(mDw^ujyv!1iVq>6iVsc4lSz<|MejZ45QEE=9Qf+N)Z7tY-"
        "Ca61@p|r7{B?B_>;Aa>GqhJ(_f>AIEM!_f;1*2dTjDk@x3Pu3|;P33=%_M|8Pyqux_Ml!jA7q>%JGCgWIKB+n!v}WL"
        "aSk*vBMmfw_`4F;6+y>1u-gF{<zV9h8N--zQ4rRtr=I`r-i>(<@}sB_$Q$VPvq^w#=7o%+l&5B<XOt9+KwYtaqVYcB"
        "9iJT{M198}{O)lK>;#|%j3U4=Wn^T84TQjH5e7y<1$zd_h?4_@2{(huf1o5Q&~?mQ96(nwGbTXCo+MxfZy0(BRsN!T"
        "D1`OF9-RgNVK%Ji"
    ),
    "user_block.h5": (
        "c-rlm&r1S96vt=QgvFASGJjOC?75?-E-GmmNJ@4HB5c$32dyimA|c-G)}cdxg2#^i2^~B3XL#&pJ3F)LOoU|wf$yWt"
        "^Sya*X4(DjJB$bci_Bd*x$pHvJhmgtXbJh~ghb7VAuGJ^)L$@*ne8(>kes;7o(r+KkFBq`s9$CAljBs1WRC=#ebO7$"
        "%J9e*l5{GOBleW}j-Fm5KCj*==|-WW*DBRkb4r)-IrsH5y^6YCL20IMFIu-$N%t)_%yO+l;$e*KO5gYzWbQqAAZxlN"
        "@6N$qHiHo>5b_9JwP<L~X2I0zy1J{VdHuSro2{B=s5^>E_qF0()zEJBo2K>iOf1Q0^~;hbq?g-fu~loBq(F^!QVE_z"
        "G9<}h)tPO>pyPS3XMMTnvkDpo00000000000DxIw`!hM$aLyf`)~Np)pmx?dSuTR6P8)zlLp&#A$4O`y;PXmj-Lbk~"
        "?wdc#CW(R_-SyY_^+g>6KkEa}LF&JSzt;x_ThIrf4}9(e?_oag>W}-teUM*Y)G_c?A8^xqh8>@F1dM5b{dF*9Lw2fP"
        "iLrYhN6}>z9kB$r6(#eMBw^YY=z1<Z+@={J;R^cy>VAm2dfWt!%+D|;+7DDFrVj"
    ),
    "virtual.h5": (
        "c-rgqaB<`1lHy|K;9!7(|4?vV5W+WriXS=u)X3k%C5VZkf=LKjAq;RaF)%VPu<<YeDaNwRF!MYZs0P|f)b4<tpm@%O"
        "B^wztFfxiTFfcJPGO|F`!f0k521Wq}kefh&gMk(3N@i{jKA;Nb^AJIZ+#ZG@4VD;1F}XYY`+)r-faEVAu!kvv3Fw#P"
        "7U<{eWtcLgFfb#Dg8&mK&_H5Lj8Hv{z`&FXuc(D9S-{UQ3P!;w7zLwX6pVsVFbYP&C>RB!U=)mk0RjME5i}P"
    ),
}
